//! Why something could not be evaluated, in words for people.

use std::{error::Error as _, sync::Arc};

use minijinja::{Error, ErrorKind, Value};
use thiserror::Error;

use super::{compiled, names::Names};
use crate::{files::FileError, nearest::Nearest};

/// An expression, template or command that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}, in `{text}`")]
pub struct EvaluationError {
    /// Stable, `RT-nnnn`; its page is `docs/errors/RT-nnnn.md`.
    pub code: &'static str,
    /// What is wrong: a lower-case sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// What was evaluated, as its author wrote it, shortened.
    pub text: String,
}

/// An error of our own on its way through the template engine.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub(crate) struct Reason {
    code: &'static str,
    message: String,
    help: Option<String>,
    /// The path that is undefined, whose nearest name is still to be found.
    undefined: Option<String>,
}

impl Reason {
    /// An error with a code.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, undefined: None }
    }

    /// A path that leads to nothing.
    pub(crate) fn undefined(path: &str) -> Self {
        Self { undefined: Some(path.to_owned()), ..Self::new("RT-0120", format!("`{path}` is not defined")) }
    }

    /// A file that could not be read.
    pub(crate) fn file(error: &FileError) -> Self {
        let help = match error {
            FileError::NotFound(_) => "check the path: it is relative to the workspace's root",
            FileError::Outside(_) => "copy the file into the workspace first",
            FileError::Unreadable { .. } => "check that it is a file and who may read it",
            FileError::Unavailable => "read the file in a step's output (`from: …`) and use that output here",
        };
        Self::new("RT-0123", error.to_string()).with_help(help)
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the nearest known name.
    #[must_use]
    pub(crate) fn with_nearest<'name>(
        mut self,
        wrong: &str,
        known: impl IntoIterator<Item = &'name str, IntoIter: Clone>,
    ) -> Self {
        self.help = Nearest::default().help(wrong, known);
        self
    }

    /// The value that raises this error when it is touched.
    pub(crate) fn invalid(self) -> Value {
        Value::from(Error::from(self))
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::new(ErrorKind::InvalidOperation, reason.message.clone()).with_source(reason)
    }
}

/// The longest text that an error repeats, in characters.
const TEXT_MAX: usize = 160;

/// The first line of a text, cut where it is long.
pub(crate) fn shorten(text: &str, length_max: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let cut = line.chars().count() > length_max || line.len() < text.trim().len();
    let mut short: String = line.chars().take(length_max).collect();
    if cut {
        short.push('…');
    }
    short
}

/// What an error of the template engine means.
pub(super) fn explain(error: &Error, source: &str, names: &Arc<Names>) -> EvaluationError {
    let text = shorten(source, TEXT_MAX);
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(current) = cause {
        if let Some(reason) = current.downcast_ref::<Reason>() {
            let help = reason.help.clone().or_else(|| nearest_member(reason.undefined.as_deref()?, names));
            return EvaluationError { code: reason.code, message: reason.message.clone(), help, text };
        }
        cause = current.source();
    }
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let (code, message, help) = match error.kind() {
        ErrorKind::UndefinedError => {
            let path = detail.strip_prefix('`').and_then(|rest| rest.split('`').next()).map(str::to_owned);
            let help = path.as_deref().and_then(|path| nearest_member(path, names));
            ("RT-0120", detail.replace("is undefined", "is not defined"), help)
        }
        ErrorKind::OutOfFuel => {
            let help = "loop over less, or compute it in a shell step".to_owned();
            ("RT-0122", "the evaluation takes too long and was stopped".to_owned(), Some(help))
        }
        _ => ("RT-0121", detail, None),
    };
    EvaluationError { code, message, help, text }
}

/// The member most like the last name of a path, where all before it is there.
fn nearest_member(path: &str, names: &Arc<Names>) -> Option<String> {
    let (parent, name) = path.rsplit_once('.').filter(|(_, name)| !name.contains(['[', '(']))?;
    let value = compiled::expression(parent).ok()?.evaluate(names).ok()?;
    let keys: Vec<String> =
        value.try_iter().ok()?.take(1_000).filter_map(|key| key.as_str().map(str::to_owned)).collect();
    Nearest::default().help(name, keys.iter().map(String::as_str))
}
