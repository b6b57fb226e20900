//! Files as they were captured when their step ended, in the state directory.

use std::{fs, io, path::Path};

use ratchet_core::{history::sha256_hex, output::FileValue};
use ratchet_definition::files::FileError;
use ratchet_files::{CapturedFiles, write_read_only};

use crate::directory::StateDirectory;

impl CapturedFiles for StateDirectory {
    fn read(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        let blob = self.blob(&file.content.digest);
        let content = fs::read(&blob).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FileError::NotFound(file.path.clone()),
            _ => unreadable(file, error.to_string()),
        })?;
        if sha256_hex(&content) != file.content.digest.as_str() {
            return Err(unreadable(file, format!("its kept content {} is damaged", file.content.digest)));
        }
        Ok(content)
    }

    fn path(&self, file: &FileValue) -> Result<String, FileError> {
        let folder = self.captured(&file.content.digest);
        let copy = folder.join(Path::new(&file.path).file_name().unwrap_or_default());
        if !copy.is_file() {
            let content = self.read(file)?;
            write_read_only(&copy, &content).map_err(|error| unreadable(file, error.to_string()))?;
        }
        copy.into_os_string()
            .into_string()
            .map_err(|_| unreadable(file, "the state directory's path is not UTF-8".to_owned()))
    }
}

fn unreadable(file: &FileValue, reason: String) -> FileError {
    FileError::Unreadable { path: file.path.clone(), reason }
}
