//! Files as they were captured when their step ended.

use std::{
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use ratchet_core::output::FileValue;
use ratchet_definition::files::FileError;

/// Where the content of captured files is.
pub trait CapturedFiles: fmt::Debug + Send + Sync {
    /// The content of one, compared with its digest.
    fn read(&self, file: &FileValue) -> Result<Vec<u8>, FileError>;

    /// The path of a copy that is read only.
    fn path(&self, file: &FileValue) -> Result<String, FileError>;
}

/// Writes a copy that is read only, whole or not at all. Its folder is made, for its owner alone.
pub fn write_read_only(copy: &Path, content: &[u8]) -> io::Result<()> {
    let folder = copy.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o400)).tempfile_in(folder)?;
    io::Write::write_all(&mut file.as_file(), content)?;
    file.persist(copy).map(|_| ()).map_err(|error| error.error)
}
