//! The places of one machine in a recording: they are left out when it is made, and those of the machine that plays it are put in.

use std::{env, path::Path};

use ratchet_engine::ports::AgentRequest;
use serde_json::Value;

const WORKSPACE: &str = "<ratchet:workspace>";
const ATTEMPT: &str = "<ratchet:attempt>";
const HOME: &str = "<ratchet:home>";

/// Which paths stand for which word.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Every spelling of every path, the longest first: a workspace under the home is not taken for the home.
    spellings: Vec<(String, &'static str)>,
    /// The path that each word stands for.
    words: Vec<(&'static str, String)>,
}

impl Places {
    /// The places of this attempt on this machine.
    pub(crate) fn of(request: &AgentRequest) -> Self {
        let home = env::home_dir();
        let places = [
            (Some(request.files.path()), WORKSPACE),
            (Some(request.directory.as_path()), ATTEMPT),
            (home.as_deref(), HOME),
        ];
        let places = places.into_iter().filter_map(|(path, word)| Some((path?, word)));
        let mut spellings = Vec::new();
        let mut words = Vec::new();
        for (path, word) in places {
            spellings.extend(spellings_of(path).map(|path| (path, word)));
            words.push((word, path.display().to_string()));
        }
        spellings.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self { spellings, words }
    }

    /// The text with words in place of this machine's paths.
    pub(crate) fn leave_out(&self, text: &str) -> String {
        self.spellings.iter().fold(text.to_owned(), |text, (path, word)| replace_path(&text, path, word))
    }

    /// The text with this machine's paths in place of the words.
    pub(crate) fn restore(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (word, path)| text.replace(word, path))
    }

    /// As [`restore`](Self::restore), for every string in a value.
    pub(crate) fn restore_value(&self, value: Value) -> Value {
        map_strings(value, &|text| self.restore(text))
    }

    /// As [`restore`](Self::restore), for a file's content; what is not text stays as it is.
    pub(crate) fn restore_bytes(&self, content: Vec<u8>) -> Vec<u8> {
        match String::from_utf8(content) {
            Ok(text) => self.restore(&text).into_bytes(),
            Err(other) => other.into_bytes(),
        }
    }
}

/// Changes every string in a value, the keys of maps included.
pub(crate) fn map_strings(value: Value, change: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(&text)),
        Value::Array(list) => Value::Array(list.into_iter().map(|item| map_strings(item, change)).collect()),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(key, item)| (change(&key), map_strings(item, change))).collect())
        }
        other => other,
    }
}

/// A path as it was given and as it really is. Paths as short as `/` would be found everywhere and stand for nothing.
fn spellings_of(path: &Path) -> impl Iterator<Item = String> {
    let given = path.display().to_string();
    let real = path.canonicalize().ok().map(|real| real.display().to_string()).filter(|real| *real != given);
    [Some(given), real].into_iter().flatten().filter(|path| path.len() > 1)
}

/// Replaces a path where it is whole: `/home/me` is not in `/home/me2`.
fn replace_path(text: &str, path: &str, word: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(path) {
        let (before, found) = rest.split_at(at);
        let after = &found[path.len()..];
        let goes_on = after.starts_with(|next: char| next.is_alphanumeric() || next == '_' || next == '-');
        replaced.push_str(before);
        replaced.push_str(if goes_on { path } else { word });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}
