use std::{io, path::Path};

use ratchet_engine::ports::StoreError;
use rusqlite::{ErrorCode, types::FromSqlError};
use rustix::fs::Access;

/// Bytes that a disk must have free for the files beside the database.
const ROOM: u64 = 128 * 1024;

/// What reading can end in, before it is known which file it was about.
#[derive(Debug)]
pub(super) enum StoreFailure {
    /// The database failed.
    Database(rusqlite::Error),
    /// A row is not what was written.
    Row(String),
}

impl StoreFailure {
    /// The error of the port, about this file.
    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Row(reason) => StoreError::Damaged { place: path.display().to_string(), reason },
            Self::Database(error) => of_database("read", &error, path),
        }
    }
}

impl From<rusqlite::Error> for StoreFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<FromSqlError> for StoreFailure {
    fn from(error: FromSqlError) -> Self {
        Self::Row(format!("a row is no text: {error}"))
    }
}

/// The error of the port that the database's own comes to. `action` is what was tried: a fragment that reads before the file's name.
pub(super) fn of_database(action: &str, error: &rusqlite::Error, path: &Path) -> StoreError {
    let place = path.display().to_string();
    let refused = |reason: String| StoreError::Refused { action: format!("{action} {}", path.display()), reason };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Unavailable(format!("other processes kept {place} locked for too long"))
        }
        Some(ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => {
            StoreError::Unavailable(format!("{place}: {error}"))
        }
        Some(ErrorCode::DiskFull) => refused("the disk is full".to_owned()),
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure
            | ErrorCode::TooBig,
        ) => refused(cause(path).unwrap_or_else(|| error.to_string())),
        // What is left says that the file does not hold the tables that this code wrote.
        _ => StoreError::Damaged { place, reason: error.to_string() },
    }
}

/// Why the system refuses a file, where that can still be seen: the database only says that it does.
fn cause(path: &Path) -> Option<String> {
    let folder = path.parent()?;
    for place in [path, folder] {
        if let Err(error) = rustix::fs::access(place, Access::WRITE_OK) {
            let error = io::Error::from(error);
            return Some(if place == path { error.to_string() } else { format!("{}: {error}", place.display()) });
        }
    }
    let room = rustix::fs::statvfs(folder).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    room.filter(|room| *room < ROOM).map(|_| "the disk is full".to_owned())
}
