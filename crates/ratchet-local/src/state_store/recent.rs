use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use ratchet_core::{execution::ExecutionRow, ids::ExecutionId};

use super::{error::StoreFailure, row::decode};

/// The most rows that are kept.
const ROWS_MAX: usize = 256;

/// Rows of executions as they were read last, beside their text. Every handler reads the row of its run, which changes seldom: where its text is the same it need not be
/// parsed again.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<ExecutionId, (String, ExecutionRow)>>);

impl Recent {
    /// The row that a text is.
    pub(super) fn decode(&self, id: &ExecutionId, text: &str) -> Result<ExecutionRow, StoreFailure> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, row)) = rows.get(id)
            && known == text
        {
            return Ok(row.clone());
        }
        let row: ExecutionRow = decode(text)?;
        if rows.len() >= ROWS_MAX {
            rows.clear();
        }
        rows.insert(id.clone(), (text.to_owned(), row.clone()));
        Ok(row)
    }
}
