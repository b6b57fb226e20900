//! What the command says while it works: each line is an event, and the last one the result.

use std::io;

use ratchet_engine::ports::AgentRequest;
use serde_json::Value;

use crate::{
    agent::transcript::Transcript,
    output_log::{OutputLog, Stream},
    process::Listener,
};

/// The longest event in bytes. A longer one is left out of the transcript, which says so.
const EVENT_BYTES_MAX: usize = 32 << 20;

/// The transcript while it is written.
pub(super) struct Session {
    transcript: Transcript,
}

/// What was understood of the events.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Heard {
    /// The name that the session gave itself.
    pub(super) session_id: Option<String>,
    /// How it ended, by its own account.
    pub(super) result: Option<Value>,
    /// Tokens of the replies so far, for a session that ends without a result.
    pub(super) tokens: u64,
    /// Replies so far.
    pub(super) turns: u32,
    /// The message whose tokens were counted last: a reply comes as one event for each of its parts.
    counted: Option<String>,
}

impl Session {
    /// Goes on at the end of the transcript of a request.
    pub(super) fn open(request: &AgentRequest) -> io::Result<Self> {
        Ok(Self { transcript: Transcript::open(request)? })
    }

    /// Notes something that the agent did not say.
    pub(super) fn warn(&mut self, message: &str) {
        // A transcript that cannot be written takes nothing from the work.
        let _ = self.transcript.warn(message);
    }

    /// Listens to the command; what it prints besides events goes to the log.
    pub(super) fn listening(self, log: OutputLog<'_>) -> Listening<'_> {
        Listening { session: self, log, line: Vec::new(), is_too_long: false, heard: Heard::default() }
    }
}

/// A session that is heard.
pub(super) struct Listening<'a> {
    session: Session,
    log: OutputLog<'a>,
    line: Vec<u8>,
    is_too_long: bool,
    heard: Heard,
}

impl Listening<'_> {
    /// What was understood, and the last words besides the events.
    pub(super) fn end(mut self) -> (Heard, String) {
        self.line_ended();
        self.log.end();
        (self.heard, self.log.last_words().unwrap_or_default())
    }

    fn line_ended(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_too_long) {
            self.session.warn("an event was left out because it was too long");
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        match serde_json::from_str::<Value>(text) {
            // A piece of what is said whole a little later.
            Ok(event) if event["type"] == "stream_event" => {}
            Ok(event @ Value::Object(_)) => {
                let _ = self.session.transcript.event(&event, Some(text));
                self.heard.understand(event);
            }
            _ => self.log.print(Stream::Stdout, format!("{text}\n").as_bytes()),
        }
    }
}

impl Listener for Listening<'_> {
    fn hear(&mut self, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Stderr {
            self.log.print(stream, bytes);
            return;
        }
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.append(&rest[..end]);
            self.line_ended();
            rest = &rest[end + 1..];
        }
        self.append(rest);
    }

    fn is_satisfied(&self) -> bool {
        self.heard.result.is_some()
    }
}

impl Listening<'_> {
    fn append(&mut self, part: &[u8]) {
        if self.is_too_long || self.line.len() + part.len() > EVENT_BYTES_MAX {
            self.is_too_long = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(part);
        }
    }
}

impl Heard {
    fn understand(&mut self, event: Value) {
        if let Some(id) = event["session_id"].as_str() {
            self.session_id = Some(id.to_owned());
        }
        match event["type"].as_str() {
            Some("result") => self.result = Some(event),
            Some("assistant") => {
                let message = &event["message"];
                let id = message["id"].as_str().map(str::to_owned);
                if id.is_none() || id != self.counted {
                    self.turns += 1;
                    self.tokens += tokens_of(&message["usage"]);
                    self.counted = id;
                }
            }
            _ => {}
        }
    }
}

/// The tokens of one account of usage, read and written, whatever the cache made of them.
pub(super) fn tokens_of(usage: &Value) -> u64 {
    let names = ["input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
    names.iter().filter_map(|name| usage[*name].as_u64()).sum()
}
