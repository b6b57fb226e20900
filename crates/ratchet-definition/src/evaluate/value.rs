//! Outputs become values of expressions, and values become outputs or text.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use minijinja::{
    Error, ErrorKind, Value,
    value::{Object, ObjectRepr, ValueKind},
};
use ratchet_core::output::{FileValue, Output};
use serde_json::Value as Json;

use super::error::Reason;
use crate::files::{FileAccess, FileError};

/// A file value in an expression: text where text is wanted, content where a function reads it.
pub(crate) struct FileObject {
    /// The file as it was captured.
    pub(crate) file: FileValue,
    files: Arc<dyn FileAccess>,
    path: OnceLock<Result<String, FileError>>,
}

impl FileObject {
    fn path(&self) -> Result<&str, &FileError> {
        self.path.get_or_init(|| self.files.path_of_captured(&self.file)).as_deref()
    }

    /// What the file is called in text.
    pub(crate) fn text(&self) -> Result<String, Error> {
        self.path().map(str::to_owned).map_err(|error| Reason::file(error).into())
    }
}

impl fmt::Debug for FileObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileObject").field(&self.file).finish()
    }
}

impl Object for FileObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let message = format!("a file value has no `{key}`");
        Some(
            Reason::new("RT-0120", message)
                .with_help("read it with `file_content(…)` or `parse_coverage(…)`")
                .invalid(),
        )
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn custom_cmp(self: &Arc<Self>, other: &minijinja::value::DynObject) -> Option<std::cmp::Ordering> {
        let other = other.downcast_ref::<Self>()?;
        let key = |file: &FileValue| (file.path.clone(), file.content.digest.clone());
        Some(key(&self.file).cmp(&key(&other.file)))
    }

    /// Formatting cannot fail: where the path is not to be had the text is the file's place in the workspace. [`text_of`] reports it.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path().unwrap_or(&self.file.path))
    }
}

/// The value that an output is in an expression.
pub(crate) fn from_output(output: &Output, files: &Arc<dyn FileAccess>) -> Value {
    match output {
        Output::Json(json) => from_json(json),
        Output::File(file) => {
            Value::from_object(FileObject { file: file.clone(), files: Arc::clone(files), path: OnceLock::new() })
        }
        Output::Each(entries) => entries
            .iter()
            .map(|entry| entry.as_ref().map_or(Value::from(()), |output| from_output(output, files)))
            .collect(),
        Output::Stored(content) => {
            Reason::new("RT-0123", format!("the value {} was not loaded from the blob store", content.digest)).invalid()
        }
    }
}

/// The value that some JSON is in an expression.
pub(crate) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::String(text) => Value::from(text.as_str()),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => Value::from(number.as_f64()),
        },
        Json::Array(items) => items.iter().map(from_json).collect(),
        Json::Object(members) => {
            Value::from_pairs(members.iter().map(|(name, member)| (name.as_str(), from_json(member))))
        }
    }
}

/// The file that a value is, if it is one.
pub(crate) fn as_file(value: &Value) -> Option<&FileObject> {
    value.downcast_object_ref::<FileObject>()
}

/// The output that a value becomes. A list with files in it keeps them; in a map a file is its path.
pub(crate) fn to_output(value: &Value) -> Result<Output, Error> {
    if let Some(file) = as_file(value) {
        return Ok(Output::File(file.file.clone()));
    }
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
        if items.iter().any(|item| as_file(item).is_some()) {
            let entry = |item: &Value| if item.is_none() { Ok(None) } else { to_output(item).map(Some) };
            return items.iter().map(entry).collect::<Result<_, _>>().map(Output::Each);
        }
    }
    to_json(value).map(Output::Json)
}

/// The JSON of a value; a file is its path.
pub(crate) fn to_json(value: &Value) -> Result<Json, Error> {
    if value.is_undefined() {
        return Ok(Json::Null);
    }
    check_files(value, 0)?;
    serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, format!("the value has no form as JSON: {error}")))
}

/// Reports a file somewhere in a value whose path is not to be had.
fn check_files(value: &Value, depth: u32) -> Result<(), Error> {
    if let Some(file) = as_file(value) {
        return file.text().map(drop);
    }
    // Deeper values come from JSON text, which holds no files.
    if depth < 4 {
        match value.kind() {
            ValueKind::Seq => {
                for item in value.try_iter()? {
                    check_files(&item, depth + 1)?;
                }
            }
            ValueKind::Map => {
                for key in value.try_iter()? {
                    check_files(&value.get_item(&key)?, depth + 1)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The text of a value: nothing for null, no fraction for an integral number, the path of a file, JSON for lists and maps.
pub(crate) fn text_of(value: &Value) -> Result<String, Error> {
    if let Some(file) = as_file(value) {
        return file.text();
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(String::new()),
        ValueKind::Bool => Ok(if value.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(number_text(value)),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => to_json(value).map(|json| json.to_string()),
        ValueKind::Bytes => Ok(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()),
        _ => match value.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Ok(value.to_string()),
        },
    }
}

fn number_text(value: &Value) -> String {
    let text = value.to_string();
    match text.strip_suffix(".0") {
        Some(integral) => integral.to_owned(),
        None => text,
    }
}
