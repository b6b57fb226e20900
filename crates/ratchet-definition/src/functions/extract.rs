//! Functions that find something in text, mostly in what an agent wrote.

use std::sync::LazyLock;

use minijinja::{Error, State, Value, value::Rest};
use regex::Regex;
use serde_json::{Deserializer, Value as Json};

use super::files::text_or_content;
use crate::evaluate::{Reason, value::from_json};

/// The most texts that are tried as JSON: each try may read the rest of the text.
const TRIES_MAX: usize = 1_000;

/// A block between fences of three or more back quotes or tildes.
struct Block<'text> {
    language: &'text str,
    code: &'text str,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, &str, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        let mark = bare.chars().next().filter(|first| matches!(first, '`' | '~'));
        let length = mark.map_or(0, |mark| bare.chars().take_while(|c| *c == mark).count());
        match open {
            Some((fence, language, from)) if length >= fence.len() && *bare == fence[..1].repeat(length) => {
                found.push(Block { language, code: &text[from..at] });
                open = None;
            }
            None if length >= 3 => {
                let language = bare[length..].split_whitespace().next().unwrap_or_default();
                open = Some((&bare[..length], language, at + line.len()));
            }
            _ => {}
        }
        at += line.len();
    }
    found
}

/// `extract_code_blocks(text)` or `(text, language)`: the code between fences, in order, each without its fences.
pub(super) fn extract_code_blocks(
    state: &State<'_, '_>,
    text: &Value,
    language: Option<&str>,
) -> Result<Vec<String>, Error> {
    let text = text_or_content(state, text)?;
    let wanted = |block: &Block<'_>| language.is_none_or(|language| block.language.eq_ignore_ascii_case(language));
    Ok(blocks(&text).into_iter().filter(wanted).map(|block| block.code.to_owned()).collect())
}

/// `extract_json_block(text)` or `(text, default)`: the first JSON object or list: of a block between fences, else anywhere in the text.
#[expect(clippy::needless_pass_by_value, reason = "the template engine gives the rest of the arguments by value")]
pub(super) fn extract_json_block(state: &State<'_, '_>, text: &Value, default: Rest<Value>) -> Result<Value, Error> {
    let text = text_or_content(state, text)?;
    let fenced = blocks(&text)
        .into_iter()
        .filter(|block| block.language.is_empty() || block.language.eq_ignore_ascii_case("json"))
        .find_map(|block| serde_json::from_str::<Json>(block.code).ok().filter(is_container));
    match (fenced.or_else(|| anywhere(&text)), default.first()) {
        (Some(found), _) => Ok(from_json(&found)),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(Reason::new("RT-0124", "there is no JSON object or list in the text")
            .with_help("ask for a ```json block, use `output_schema`, or give a second argument as the default")
            .into()),
    }
}

fn is_container(json: &Json) -> bool {
    json.is_object() || json.is_array()
}

fn anywhere(text: &str) -> Option<Json> {
    text.match_indices(['{', '['])
        .take(TRIES_MAX)
        .find_map(|(at, _)| Deserializer::from_str(&text[at..]).into_iter::<Json>().next()?.ok().filter(is_container))
}

/// `extract_url(text)` or `(text, default)`: the first http or https address, without the punctuation that ends a sentence.
#[expect(clippy::needless_pass_by_value, reason = "the template engine gives the rest of the arguments by value")]
pub(super) fn extract_url(state: &State<'_, '_>, text: &Value, default: Rest<Value>) -> Result<Value, Error> {
    static URL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"https?://[^\s<>"'`\\^{}|]+"#).ok());
    let text = text_or_content(state, text)?;
    let found = URL.as_ref().and_then(|url| url.find(&text)).map(|found| {
        let mut url = found.as_str();
        loop {
            let shorter = url.trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_']);
            // A closing bracket belongs to the address only where the address opened it.
            let shorter = match shorter.chars().last() {
                Some(')') if shorter.matches('(').count() < shorter.matches(')').count() => {
                    &shorter[..shorter.len() - 1]
                }
                Some(']') if shorter.matches('[').count() < shorter.matches(']').count() => {
                    &shorter[..shorter.len() - 1]
                }
                _ => shorter,
            };
            if shorter.len() == url.len() {
                break url.to_owned();
            }
            url = shorter;
        }
    });
    match (found, default.first()) {
        (Some(url), _) => Ok(Value::from(url)),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(Reason::new("RT-0124", "there is no http or https address in the text")
            .with_help("give a second argument as the default: `extract_url(text, none)`")
            .into()),
    }
}
