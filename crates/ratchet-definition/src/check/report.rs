//! The mistakes that were found so far.

use std::{collections::BTreeSet, ops::Range};

use crate::{
    mistake::{Mistake, Severity},
    nearest::Nearest,
};

/// More findings than this in one file are not worth a person's time.
const FINDINGS_MAX: usize = 500;

/// Collects what is found in a file. Every span counts bytes of the file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    mistakes: Vec<Mistake>,
    /// The names of the step types that the file declares.
    pub(crate) custom_types: BTreeSet<String>,
    /// For "did you mean".
    pub(crate) nearest: Nearest,
}

impl Report {
    /// Adds a finding.
    pub(crate) fn add(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Adds an error.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        at: Range<usize>,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.add(Mistake { help: help.into(), ..Mistake::error(code, message, at) });
    }

    /// Adds a warning.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        at: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Mistake::warning(code, message, at).with_help(help));
    }

    /// Whether the file cannot be run.
    pub(crate) fn has_errors(&self) -> bool {
        self.mistakes.iter().any(|mistake| mistake.severity == Severity::Error)
    }

    /// What was found, in the order of the file, each thing once: what stands behind an alias is looked at wherever it is used.
    pub(crate) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes;
        mistakes.sort_by(|a, b| {
            let key = |m: &Mistake| (m.span.start, m.span.end, m.code);
            key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
        });
        mistakes.dedup();
        if mistakes.len() > FINDINGS_MAX {
            // Errors must not be cut off while warnings stay: the cut keeps the order, so errors come first here.
            mistakes.sort_by_key(|mistake| mistake.severity);
            let more = mistakes.split_off(FINDINGS_MAX);
            mistakes.sort_by_key(|mistake| mistake.span.start);
            let message = format!("there are {} more findings besides these", more.len());
            let at = more[0].span.clone();
            mistakes.push(Mistake { severity: more[0].severity, ..Mistake::error("RT-0009", message, at) });
        }
        mistakes
    }
}
