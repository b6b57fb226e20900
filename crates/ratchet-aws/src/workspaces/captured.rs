//! Files as they were captured when their step ended, in the bucket.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ratchet_core::output::FileValue;
use ratchet_definition::files::FileError;
use ratchet_files::{CapturedFiles, write_read_only};
use ratchet_workspace::{ContentDigest, Contents};

/// The captured files in some contents.
///
/// A path is told without anything being written: whoever runs a process that was given one [puts the copy there](Self::put) before.
#[derive(Clone)]
pub struct CapturedBlobs {
    contents: Arc<dyn Contents>,
    folder: PathBuf,
}

impl fmt::Debug for CapturedBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapturedBlobs").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl CapturedBlobs {
    /// The captured files whose copies lie below the folder of the tasks.
    pub fn new(contents: Arc<dyn Contents>, folder: &Path) -> Self {
        Self { contents, folder: folder.join("captured") }
    }

    /// The folder that copies lie in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn place(&self, file: &FileValue) -> PathBuf {
        let name = Path::new(&file.path).file_name().unwrap_or_default();
        self.folder.join(file.content.digest.as_str()).join(name)
    }

    /// Writes the copy of a file to where its path says.
    pub fn put(&self, file: &FileValue) -> Result<(), FileError> {
        let copy = self.place(file);
        if copy.is_file() {
            return Ok(());
        }
        let content = self.read(file)?;
        write_read_only(&copy, &content).map_err(|error| unreadable(file, &error))
    }
}

impl CapturedFiles for CapturedBlobs {
    fn read(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        let digest = ContentDigest::from_core(&file.content.digest);
        let digest = digest.ok_or_else(|| unreadable(file, &"its digest is none"))?;
        self.contents.read(digest).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FileError::NotFound(file.path.clone()),
            _ => unreadable(file, &error),
        })
    }

    fn path(&self, file: &FileValue) -> Result<String, FileError> {
        self.place(file).into_os_string().into_string().map_err(|_| unreadable(file, &"its name is not UTF-8"))
    }
}

fn unreadable(file: &FileValue, reason: &dyn fmt::Display) -> FileError {
    FileError::Unreadable { path: file.path.clone(), reason: reason.to_string() }
}
