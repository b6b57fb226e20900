//! Where the command's words go: what was asked for to standard output, everything else to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::{command_error::CommandError, paint::Paint};

/// The two streams, and whether each is painted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    /// How standard output is painted.
    pub(crate) out: Paint,
    /// How standard error is painted.
    pub(crate) err: Paint,
}

impl Console {
    /// The streams of this process.
    pub(crate) fn new() -> Self {
        Self { out: Paint::for_stream(&io::stdout()), err: Paint::for_stream(&io::stderr()) }
    }

    /// Writes a line to standard output.
    pub(crate) fn line(self, text: &str) -> Result<(), CommandError> {
        self.text(&format!("{text}\n"))
    }

    /// Writes text to standard output as it is. A reader that went away (`| head`) is no error.
    #[expect(clippy::unused_self, reason = "whoever writes has a console in hand")]
    pub(crate) fn text(self, text: &str) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CommandError::ReaderGone),
            other => other.map_err(CommandError::Output),
        }
    }

    /// Writes a value as indented JSON to standard output.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(value).map_err(|error| CommandError::Output(error.into()))?;
        self.line(&text)
    }

    /// Says something to the person on standard error. What cannot be said is lost: there is nowhere else to say it.
    #[expect(clippy::unused_self, reason = "whoever speaks has a console in hand")]
    pub(crate) fn say(self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
