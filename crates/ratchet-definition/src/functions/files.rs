//! Functions that give what is in files, and the way in which all functions read them.

use minijinja::{Error, State, Value, value::ValueKind};

use crate::evaluate::{
    Reason, names_of,
    value::{as_file, text_of},
};

/// The most bytes of a file that a function takes.
const SIZE_MAX: usize = 64 * 1024 * 1024;

/// The content of a file value or of a file of the workspace.
pub(super) fn bytes_of(state: &State<'_, '_>, argument: &Value) -> Result<Vec<u8>, Error> {
    let names = names_of(state)?;
    let bytes = match as_file(argument) {
        Some(file) => names.files.read_captured(&file.file),
        None if argument.kind() == ValueKind::String => names.files.read(&text_of(argument)?),
        None => return Err(wrong_kind("a file or a path", argument)),
    };
    let bytes = bytes.map_err(|error| Error::from(Reason::file(&error)))?;
    if bytes.len() > SIZE_MAX {
        let message = format!("the file has {} bytes; functions read at most {SIZE_MAX}", bytes.len());
        return Err(Reason::new("RT-0124", message).with_help("make it smaller in a shell step first").into());
    }
    Ok(bytes)
}

/// The text that an argument is, or of the file that it is. Bytes that are no UTF-8 are replaced.
pub(super) fn text_or_content(state: &State<'_, '_>, argument: &Value) -> Result<String, Error> {
    if as_file(argument).is_some() {
        let bytes = bytes_of(state, argument)?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    if argument.kind() != ValueKind::String {
        return Err(wrong_kind("text or a file", argument));
    }
    text_of(argument)
}

/// An argument that is not what the function takes. Null is what the output of a skipped or failed step is.
pub(super) fn wrong_kind(wanted: &str, found: &Value) -> Error {
    let reason = Reason::new("RT-0124", format!("{wanted} is wanted here, and this is {}", described(found)));
    if found.is_none() {
        return reason
            .with_help("an output of a step that was skipped or failed is null: test with `… is none`")
            .into();
    }
    reason.into()
}

fn described(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "null",
        ValueKind::Bool => "true or false",
        ValueKind::Number => "a number",
        ValueKind::String => "text",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "a map",
        _ => "something else",
    }
}

/// `file_content(path)`: the text of a file. Bytes that are no UTF-8 are replaced.
pub(super) fn file_content(state: &State<'_, '_>, file: &Value) -> Result<String, Error> {
    let bytes = bytes_of(state, file)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `glob(pattern)`: the files of the workspace that it matches, sorted.
pub(super) fn glob(state: &State<'_, '_>, pattern: &str) -> Result<Vec<String>, Error> {
    names_of(state)?.files.glob(pattern).map_err(|error| Reason::file(&error).into())
}
