//! Which captured files a step's texts name by the paths of their copies: whoever runs its process elsewhere puts the copies there.

use std::sync::{Arc, Mutex, PoisonError};

use ratchet_core::{ids::Digest, output::FileValue};
use ratchet_definition::files::{FileAccess, FileError};

/// Files, and a note of which of them were captured and are named by a path of their own.
pub(crate) struct Noted {
    files: Arc<dyn FileAccess>,
    named: Mutex<Vec<FileValue>>,
}

impl Noted {
    pub(crate) fn new(files: Arc<dyn FileAccess>) -> Self {
        Self { files, named: Mutex::default() }
    }

    /// Those that were named until now.
    pub(crate) fn take(&self) -> Vec<FileValue> {
        std::mem::take(&mut self.named.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl FileAccess for Noted {
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        self.files.read_captured(file)
    }

    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError> {
        let path = self.files.path_of_captured(file)?;
        if path != file.path {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            if !named.contains(file) {
                named.push(file.clone());
            }
        }
        Ok(path)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.files.read(path)
    }

    fn digest(&self, path: &str) -> Result<Option<Digest>, FileError> {
        self.files.digest(path)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, FileError> {
        self.files.glob(pattern)
    }

    fn program(&self, path: &str) -> Option<Digest> {
        self.files.program(path)
    }
}
