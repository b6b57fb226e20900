//! What is wrong in a piece of text, before anybody knows which file the text stands in.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be run.
    Error,
    /// The file can be run, and may not do what its author wanted.
    Warning,
}

/// One thing that is wrong in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Stable, `RT-nnnn`; its page is `docs/errors/RT-nnnn.md`.
    pub code: &'static str,
    /// Whether the text can be used all the same.
    pub severity: Severity,
    /// What is wrong: a lower-case sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Where, in bytes of the text that was given.
    pub span: Range<usize>,
}

impl Mistake {
    /// A mistake that keeps the text from being used.
    pub fn error(code: &'static str, message: impl Into<String>, span: Range<usize>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), help: None, span }
    }

    /// A finding that the author should look at.
    pub fn warning(code: &'static str, message: impl Into<String>, span: Range<usize>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, span) }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
