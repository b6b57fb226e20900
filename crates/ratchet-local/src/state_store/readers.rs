use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ratchet_engine::ports::StoreError;
use rusqlite::Connection;

use super::{connection, error, error::StoreFailure};

/// Connections that are kept open between reads. More are opened while more read at once.
const IDLE_MAX: usize = 4;

/// Connections that read. A read runs where it is called: it takes some microseconds from the page cache, less than handing it to another thread.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default() }
    }

    /// Reads with a connection that nobody else uses meanwhile. Each statement sees all that was committed before it.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreFailure>) -> Result<T, StoreError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connection::open_for_reading(&self.path)
                .map_err(|error| error::of_database("open", &error, &self.path))?,
        };
        let result = read(&connection).map_err(|error| error.at(&self.path));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        result
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("path", &self.path).finish_non_exhaustive()
    }
}
