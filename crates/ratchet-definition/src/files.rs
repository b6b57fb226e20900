//! How expressions read files.

use ratchet_core::{ids::Digest, output::FileValue};
use thiserror::Error;

/// The files that an expression may read: those of the workspace, and captured ones by digest.
///
/// Contract: paths are relative to the workspace's root with `/`; one that leaves the workspace, also through a symbolic link, is
/// [`FileError::Outside`]. Nothing is ever written.
pub trait FileAccess: Send + Sync {
    /// The content of a captured file, as it was when its step ended.
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError>;

    /// What a captured file is called in text: its workspace path while that file still has the digest, else the path of a read-only copy.
    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError>;

    /// The content of a file of the workspace.
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError>;

    /// The digest of a file's content; of a folder, over the paths, modes and digests of all that is in it. `None` where there is neither.
    fn digest(&self, path: &str) -> Result<Option<Digest>, FileError>;

    /// The files that a glob matches, sorted.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, FileError>;

    /// The digest of a program that lies beside the workflow's file, by its path relative to that folder, as a process of the run would find it now. `None` where it is not
    /// there, or where that folder is not known.
    fn program(&self, _path: &str) -> Option<Digest> {
        None
    }
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// There is none.
    #[error("there is no file {0}")]
    NotFound(String),
    /// The path leaves the workspace.
    #[error("the path {0} leaves the workspace")]
    Outside(String),
    /// The file cannot be read.
    #[error("the file {path} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// There are no files where the expression is evaluated.
    #[error("no files can be read here")]
    Unavailable,
}

/// There are no files where the expressions are evaluated: no run is there yet, or it has none.
#[derive(Debug, Clone, Copy)]
pub struct NoFiles;

impl FileAccess for NoFiles {
    fn read_captured(&self, _file: &FileValue) -> Result<Vec<u8>, FileError> {
        Err(FileError::Unavailable)
    }

    fn path_of_captured(&self, _file: &FileValue) -> Result<String, FileError> {
        Err(FileError::Unavailable)
    }

    fn read(&self, _path: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::Unavailable)
    }

    fn digest(&self, _path: &str) -> Result<Option<Digest>, FileError> {
        Err(FileError::Unavailable)
    }

    fn glob(&self, _pattern: &str) -> Result<Vec<String>, FileError> {
        Err(FileError::Unavailable)
    }
}
