use std::path::Path;

use ratchet_engine::ports::StoreError;
use rusqlite::{ErrorCode, types::FromSqlError};

/// What a piece of the store's work can end in, before it is known which file it was about.
#[derive(Debug)]
pub(super) struct StoreFailure {
    /// What was tried: a fragment that reads before the file's name.
    action: &'static str,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Sqlite(rusqlite::Error),
    Body(String),
}

impl StoreFailure {
    /// The database failed.
    pub(super) fn new(action: &'static str, error: rusqlite::Error) -> Self {
        Self { action, cause: Cause::Sqlite(error) }
    }

    /// A row is not what was written.
    pub(super) fn body(reason: String) -> Self {
        Self { action: "read", cause: Cause::Body(reason) }
    }

    /// The error of the port, about this file.
    pub(super) fn at(self, path: &Path) -> StoreError {
        let place = path.display().to_string();
        let error = match self.cause {
            Cause::Body(reason) => return StoreError::Damaged { place, reason },
            Cause::Sqlite(error) => error,
        };
        let refused = |reason: &str| StoreError::Refused {
            action: format!("{} {}", self.action, path.display()),
            reason: reason.to_owned(),
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Unavailable(format!("other processes kept {place} locked for too long"))
            }
            Some(ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted) => {
                StoreError::Unavailable(format!("{place}: {error}"))
            }
            Some(ErrorCode::DiskFull) => refused("the disk is full"),
            Some(ErrorCode::ReadOnly) => refused("the file or its folder is read only"),
            Some(
                ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure | ErrorCode::TooBig,
            ) => refused(&error.to_string()),
            // What is left says that the file does not hold the tables that this code wrote.
            _ => StoreError::Damaged { place, reason: error.to_string() },
        }
    }
}

impl From<rusqlite::Error> for StoreFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::new("read", error)
    }
}

impl From<FromSqlError> for StoreFailure {
    fn from(error: FromSqlError) -> Self {
        Self::body(format!("a row is no text: {error}"))
    }
}
