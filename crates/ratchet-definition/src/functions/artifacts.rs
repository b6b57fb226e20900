//! `artifact`.

use minijinja::{Error, State, Value};
use ratchet_core::output::Output;

use crate::evaluate::{Reason, names_of, value::from_output};

/// `artifact(reference)`: a version of an artifact, as a file.
pub(super) fn artifact(state: &State<'_, '_>, reference: &str) -> Result<Value, Error> {
    let names = names_of(state)?;
    let file = names.scope.artifacts.get(reference).map_err(|error| {
        let reason = Reason::new(error.code, error.message);
        Error::from(match error.help {
            Some(help) => reason.with_help(help),
            None => reason,
        })
    })?;
    Ok(from_output(&Output::File(file), &names.files))
}
