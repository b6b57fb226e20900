//! One file that shows an execution without a server: the page, with the answers that it would ask for inside.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use ratchet_core::{execution::ExecutionRow, history::sha256_hex};
use serde_json::{Map, Value, json};

use super::{
    answers::{self, LogQuery, Written},
    assets,
    bundle::bundle,
    server::told,
};
use crate::{command_error::CommandError, state::State};

/// Of all logs and transcripts together at most so many bytes are written into the file; of those that come later there is none.
const WRITTEN_MAX: usize = 16 << 20;
/// Of one log or transcript at most so many.
const LOG_MAX: usize = 2 << 20;

/// The text of the file.
pub(crate) async fn report(state: &State, row: &ExecutionRow) -> Result<String, CommandError> {
    let mut report = Report { state, answers: Map::new(), written: 0 };
    report.execution(row).await?;
    let data = json!({ "execution": row.id, "made_at": Timestamp::now(), "answers": report.answers });
    let script = bundle();
    let mut page = String::new();
    let title = escaped(&format!("{} {}", row.definition.name, row.id));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>{}</style>\n</head>\n<body>\n\
         <script type=\"application/json\" id=\"data\">{}</script>\n<script type=\"module\">{}</script>\n</body>\n</html>\n",
        hash(&script),
        hash(assets::STYLE),
        assets::STYLE,
        inert(&data),
        script,
    );
    Ok(page)
}

/// What the page will ask for, by its path below `/api/`.
struct Report<'a> {
    state: &'a State,
    answers: Map<String, Value>,
    written: usize,
}

impl Report<'_> {
    async fn execution(&mut self, row: &ExecutionRow) -> Result<(), CommandError> {
        let id = row.id.as_str();
        let path = format!("executions/{}", encoded(id));
        let execution = answers::execution(self.state, id).await?;
        let mut steps: Vec<String> = Vec::new();
        for name in execution["order"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            steps.push(name.to_owned());
        }
        self.answers.insert(path.clone(), execution);
        self.keep(format!("{path}/diff"), answers::changed(self.state, id, None).await);
        let mut position = 0;
        while let Some(step) = steps.get(position).cloned() {
            let children = self.step(id, &format!("{path}/steps/{}", encoded(&step)), &step).await?;
            steps.extend(children);
            position += 1;
        }
        Ok(())
    }

    /// Gives the names of its children.
    async fn step(&mut self, id: &str, path: &str, step: &str) -> Result<Vec<String>, CommandError> {
        let told = answers::step(self.state, id, step).await?;
        let children = told["children"].as_array().into_iter().flatten();
        let children = children.filter_map(|child| child["step"].as_str().map(str::to_owned)).collect();
        let has_run = told["view"]["attempts"].as_u64().unwrap_or(0) > 0;
        let asks = told["view"]["type"] == "claude_code";
        self.answers.insert(path.to_owned(), told);
        self.keep(format!("{path}/why"), answers::reason(self.state, id, step).await);
        self.keep(format!("{path}/diff"), answers::changed(self.state, id, Some(step)).await);
        if has_run {
            let log = self.written(id, step, Written::Output).await?;
            self.answers.insert(format!("{path}/log"), log);
        }
        if has_run && asks {
            let transcript = self.written(id, step, Written::Transcript).await?;
            self.answers.insert(format!("{path}/transcript"), transcript);
        }
        Ok(children)
    }

    /// What the newest attempt wrote, as one answer.
    async fn written(&mut self, id: &str, step: &str, written: Written) -> Result<Value, CommandError> {
        let mut whole = answers::log(self.state, id, step, written, &LogQuery::default()).await?;
        let mut more = whole["more"] == true;
        let begin = whole["from"].as_u64().unwrap_or(0);
        while more {
            let offset = whole["offset"].as_u64().unwrap_or(0);
            if self.written + usize::try_from(offset - begin).unwrap_or(LOG_MAX) > WRITTEN_MAX
                || offset - begin > LOG_MAX as u64
            {
                break;
            }
            let mut next = answers::log(self.state, id, step, written, &LogQuery::after(offset)).await?;
            more = next["more"] == true;
            whole["offset"] = next["offset"].take();
            if let (Some(all), Value::Array(entries)) = (whole["entries"].as_array_mut(), next["entries"].take()) {
                all.extend(entries);
            }
        }
        let end = whole["offset"].as_u64().unwrap_or(0);
        self.written += usize::try_from(end - begin).unwrap_or(LOG_MAX);
        if self.written > WRITTEN_MAX {
            whole["entries"] = json!([]);
            more = true;
        }
        whole["cut"] = json!(more);
        whole["more"] = json!(false);
        Ok(whole)
    }

    /// An answer, or the reason why there is none.
    fn keep(&mut self, path: String, answer: Result<Value, CommandError>) {
        let answer = answer.unwrap_or_else(|error| json!({ "error": told(&error) }));
        self.answers.insert(path, answer);
    }
}

/// JSON that ends no element and begins no comment, wherever it stands in a page.
fn inert(data: &Value) -> String {
    let mut text = String::new();
    for character in data.to_string().chars() {
        match character {
            // These stand in JSON between quotes only.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            other => text.push(other),
        }
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// As `encodeURIComponent` of a browser does it.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What a policy names a script or a style by.
fn hash(text: &str) -> String {
    let hex = sha256_hex(text.as_bytes());
    let digits = |position| hex.get(position..position + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).filter_map(digits).collect();
    format!("sha256-{}", BASE64_STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_leave_its_element() {
        let data = json!({ "a": "</script><script>alert(1)</script><!-- & \u{2028}" });
        let text = inert(&data);
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), data);
        assert_eq!(encoded("each[3] ä"), "each%5B3%5D%20%C3%A4");
        assert_eq!(hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
