//! What a condition read, for the message that says why it failed.

use std::sync::Mutex;

use minijinja::Value;

use super::{error::shorten, value};

/// The longest value that is repeated, in characters.
const VALUE_MAX: usize = 200;
/// The most values that are repeated.
const COUNT_MAX: usize = 50;

/// A list of what was read, kept only while somebody wants it.
#[derive(Debug, Default)]
pub(super) struct Record {
    read: Mutex<Option<Vec<(String, String)>>>,
}

impl Record {
    pub(super) fn begin(&self) {
        *self.lock() = Some(Vec::new());
    }

    pub(super) fn end(&self) -> Vec<(String, String)> {
        self.lock().take().unwrap_or_default()
    }

    pub(super) fn note(&self, label: &str, read: &Value) {
        let mut record = self.lock();
        let Some(entries) = record.as_mut() else { return };
        if entries.len() >= COUNT_MAX || entries.iter().any(|(known, _)| known == label) {
            return;
        }
        let text = match value::as_file(read) {
            Some(file) => file.file.path.clone(),
            None if read.is_number() => value::text_of(read).unwrap_or_default(),
            None => value::to_json(read).map(|json| json.to_string()).unwrap_or_default(),
        };
        entries.push((label.to_owned(), shorten(&text, VALUE_MAX)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<(String, String)>>> {
        self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
