//! Colour where it is wanted. Every text reads the same without it.

use std::{env, io::IsTerminal};

use ratchet_core::status::{ExecutionStatus, StepStatus};

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Never paints.
    pub(crate) const PLAIN: Self = Self { on: false };

    /// For a stream, as `NO_COLOR`, `CLICOLOR_FORCE` and `TERM` ask.
    pub(crate) fn for_stream(stream: &impl IsTerminal) -> Self {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return Self::PLAIN;
        }
        Self { on: set("CLICOLOR_FORCE") || (stream.is_terminal() && !is_dumb()) }
    }

    /// Whether it paints.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    /// What ended well.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What failed.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What asks for attention.
    pub(crate) fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What goes on now.
    pub(crate) fn busy(self, text: &str) -> String {
        self.with("36", text)
    }

    /// What is less important than the rest.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// What is more important than the rest.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// In the colour of a step's status.
    pub(crate) fn step(self, status: StepStatus, text: &str) -> String {
        match status {
            StepStatus::Completed => self.good(text),
            StepStatus::Failed => self.bad(text),
            StepStatus::Running => self.busy(text),
            StepStatus::Waiting | StepStatus::Cancelled => self.warn(text),
            StepStatus::Pending | StepStatus::Skipped | StepStatus::Blocked => self.dim(text),
        }
    }

    /// In the colour of an execution's status.
    pub(crate) fn execution(self, status: ExecutionStatus, text: &str) -> String {
        match status {
            ExecutionStatus::Completed => self.good(text),
            ExecutionStatus::Failed => self.bad(text),
            ExecutionStatus::Running => self.busy(text),
            ExecutionStatus::Paused | ExecutionStatus::Cancelled => self.warn(text),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Whether the terminal can do nothing but print lines.
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
}

/// The mark of a step's status: it tells the statuses apart without colour.
pub(crate) fn mark(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "·",
        StepStatus::Running => "▸",
        StepStatus::Waiting => "…",
        StepStatus::Completed => "✓",
        StepStatus::Failed => "✗",
        StepStatus::Skipped => "-",
        StepStatus::Blocked => "⊘",
        StepStatus::Cancelled => "■",
    }
}
