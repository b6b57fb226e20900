//! What the events of a session say to a person.

use std::fmt;

use serde_json::Value;

/// A part of an event that is worth a person's look.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The agent's words.
    Words(String),
    /// The use of a tool.
    Used {
        /// Its name.
        tool: String,
        /// The file, pattern or command that it was used on; empty where it says none.
        on: String,
    },
    /// A tool that failed, and what it said.
    Failed(String),
    /// The end of the session.
    Ended {
        /// In its own word.
        how: String,
        /// Turns taken.
        turns: u64,
        /// US dollars.
        cost_usd: f64,
    },
}

/// Fields of a tool's input that say what it is used on, the most telling first.
const SUBJECTS: [&str; 4] = ["file_path", "path", "pattern", "command"];

impl Said {
    /// What an event says; most say nothing.
    pub fn of(event: &Value) -> Vec<Self> {
        let parts = || event["message"]["content"].as_array().into_iter().flatten();
        match event["type"].as_str() {
            Some("assistant") => parts().filter_map(Self::of_assistant).collect(),
            Some("user") => parts().filter_map(Self::of_tool).collect(),
            Some("result") => vec![Self::Ended {
                how: event["subtype"].as_str().unwrap_or("ended").to_owned(),
                turns: event["num_turns"].as_u64().unwrap_or(0),
                cost_usd: event["total_cost_usd"].as_f64().unwrap_or(0.0),
            }],
            Some("ratchet") if event["subtype"] == "verify" => Self::of_check(event),
            _ => Vec::new(),
        }
    }

    /// The check of an agent's work is the engine's own.
    fn of_check(event: &Value) -> Vec<Self> {
        let on = event["command"].as_str().unwrap_or_default().to_owned();
        let failed = event["failed"].as_str().map(|words| Self::Failed(words.to_owned()));
        [Self::Used { tool: "verify".to_owned(), on }].into_iter().chain(failed).collect()
    }

    fn of_assistant(part: &Value) -> Option<Self> {
        match part["type"].as_str()? {
            "text" => Some(Self::Words(part["text"].as_str()?.to_owned())),
            "tool_use" => {
                let on = SUBJECTS.iter().find_map(|name| part["input"][*name].as_str()).unwrap_or_default();
                Some(Self::Used { tool: part["name"].as_str().unwrap_or("tool").to_owned(), on: on.to_owned() })
            }
            _ => None,
        }
    }

    fn of_tool(part: &Value) -> Option<Self> {
        let text = part["content"].as_str().unwrap_or("the tool failed");
        part["is_error"].as_bool().unwrap_or(false).then(|| Self::Failed(text.to_owned()))
    }

    /// What is told of it while the session goes on: the last line of words, or a tool and what it is used on.
    pub(crate) fn progress(&self) -> Option<String> {
        match self {
            Self::Words(words) => words.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned),
            Self::Used { .. } => Some(self.to_string()),
            Self::Failed(_) | Self::Ended { .. } => None,
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => f.write_str(words),
            Self::Used { tool, on } => write!(f, "> {tool} {on}"),
            Self::Failed(words) => write!(f, "! {words}"),
            Self::Ended { how, turns, cost_usd } => write!(f, "= {how} ({turns} turns, ${cost_usd:.2})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_and_tools_are_said_and_the_rest_is_not() {
        let message = |kind: &str, parts: Value| json!({"type": kind, "message": {"content": parts}});
        let tool = json!({"type": "tool_use", "name": "Edit", "input": {"new_string": "x", "file_path": "a.py"}});
        for (event, expected, progress) in [
            (
                message("assistant", json!([{"type": "text", "text": "One.\nTwo.\n"}, tool])),
                "One.\nTwo.\n|> Edit a.py",
                "Two.|> Edit a.py",
            ),
            (message("assistant", json!([{"type": "thinking", "thinking": "hm"}])), "", ""),
            (
                message("user", json!([{"content": "fine"}, {"is_error": true, "content": "no such file"}])),
                "! no such file",
                "",
            ),
            (
                json!({"type": "result", "subtype": "success", "num_turns": 3, "total_cost_usd": 0.25}),
                "= success (3 turns, $0.25)",
                "",
            ),
            (
                json!({"type": "ratchet", "subtype": "verify", "command": "make", "failed": "it ended with 1", "output": "x"}),
                "> verify make|! it ended with 1",
                "> verify make",
            ),
            (
                json!({"type": "ratchet", "subtype": "verify", "command": "make", "failed": null}),
                "> verify make",
                "> verify make",
            ),
            (json!({"type": "system", "subtype": "init"}), "", ""),
            (json!([1]), "", ""),
        ] {
            let said = Said::of(&event);
            let all: Vec<String> = said.iter().map(ToString::to_string).collect();
            let told: Vec<String> = said.iter().filter_map(Said::progress).collect();
            assert_eq!((all.join("|"), told.join("|")), (expected.to_owned(), progress.to_owned()), "{event}");
        }
    }
}
