//! Files as they were captured when their step ended.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use ratchet_core::{history::sha256_hex, output::FileValue};
use ratchet_definition::files::FileError;

use crate::directory::{self, StateDirectory};

/// The captured files in a state directory.
pub(super) struct Captured<'a>(pub(super) &'a StateDirectory);

impl Captured<'_> {
    /// The content of one.
    pub(super) fn read(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        let blob = self.0.blob(&file.content.digest);
        let content = fs::read(&blob).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FileError::NotFound(file.path.clone()),
            _ => unreadable(file, error.to_string()),
        })?;
        if sha256_hex(&content) != file.content.digest.as_str() {
            return Err(unreadable(file, format!("its kept content {} is damaged", file.content.digest)));
        }
        Ok(content)
    }

    /// The path of a copy that is read only.
    pub(super) fn path(&self, file: &FileValue) -> Result<String, FileError> {
        let folder = self.0.captured(&file.content.digest);
        let copy = folder.join(Path::new(&file.path).file_name().unwrap_or_default());
        if !copy.is_file() {
            let content = self.read(file)?;
            write_read_only(&folder, &copy, &content).map_err(|error| unreadable(file, error.to_string()))?;
        }
        copy.into_os_string()
            .into_string()
            .map_err(|_| unreadable(file, "the state directory's path is not UTF-8".to_owned()))
    }
}

fn unreadable(file: &FileValue, reason: String) -> FileError {
    FileError::Unreadable { path: file.path.clone(), reason }
}

fn write_read_only(folder: &Path, copy: &Path, content: &[u8]) -> io::Result<()> {
    directory::create(folder)?;
    let file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o400)).tempfile_in(folder)?;
    io::Write::write_all(&mut file.as_file(), content)?;
    file.persist(copy).map(|_| ()).map_err(|error| error.error)
}
