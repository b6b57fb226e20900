//! Durable state in one SQLite file.
//!
//! A commit that finds the file at rest is written where it was asked for. What comes meanwhile waits for a thread that drains it into one transaction,
//! so that commits which come together share one sync to disk. Readers have connections of their own and never wait for the writer. Any number of processes may have the file open: transactions begin with the write
//! lock, and whoever finds it taken waits its turn.

mod apply;
mod artifacts;
mod connection;
mod error;
mod figures;
mod kept;
mod maintenance;
mod readers;
mod reads;
mod row;
mod schema;
mod shared_header;
mod step_cache;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    budget::BudgetRow,
    execution::ExecutionRow,
    group::GroupRow,
    ids::{Epoch, ExecutionId, StepId, StepKey},
    join::{JoinKey, JoinRow},
    step::{AttemptRow, StepRow},
};
use ratchet_engine::ports::{Committed, ExecutionFilter, Page, StateStore, StoreError, Write};

use connection::Patience;
use kept::KeptRow;
pub use maintenance::StoreSize;
use readers::Readers;
pub use step_cache::LocalStepCache;
pub use watch::{Moment, Overview};
use writer::Writer;
pub use writer::WriterCounts;

/// The state store of one machine: a SQLite file.
#[derive(Debug)]
pub struct LocalStateStore {
    path: PathBuf,
    readers: Readers,
    writer: Writer,
}

impl LocalStateStore {
    /// Opens the state file at `path`. Makes it, and the folders above it, where it is not there; brings one of an older version up to date.
    ///
    /// It waits for the disk, and where another process holds the file, some seconds for that. A file of a newer version, one that is damaged and
    /// one that cannot be written are left as they are.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let patience = Patience::default();
        let connection = connection::open(path, &patience)?;
        let writer = Writer::start(connection, patience, path)?;
        Ok(Self { path: path.to_owned(), readers: Readers::new(path), writer })
    }

    /// Where the state is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much this store has written since it was opened.
    pub fn counts(&self) -> WriterCounts {
        self.writer.counts()
    }
}

impl LocalStateStore {
    /// Runs that steps of a run started, however far below, and whose `wake_at` is not after `now`.
    pub fn due_within(&self, root: &ExecutionId, now: Timestamp, limit: usize) -> Result<Vec<ExecutionId>, StoreError> {
        self.readers.read(|connection| reads::due_within(connection, root, now, limit))
    }

    /// Executions whose name or whose workflow's name has a text in it, in upper or lower case; otherwise as [`executions`](StateStore::executions).
    pub fn executions_with(
        &self,
        text: &str,
        filter: &ExecutionFilter,
        after: Option<&ExecutionId>,
        limit: usize,
    ) -> Result<Page<ExecutionRow>, StoreError> {
        self.readers.read(|connection| reads::executions(connection, filter, Some(text), after, limit))
    }
}

#[async_trait]
impl StateStore for LocalStateStore {
    async fn commit(&self, writes: Vec<Write>) -> Result<Committed, StoreError> {
        let rows = writes.into_iter().map(row::RowWrite::from_write).collect::<Result<Vec<_>, _>>()?;
        let written = self.writer.commit(rows).await?;
        written.decode(&self.path)
    }

    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        let kept = self.writer.kept();
        if let Some(row) = kept.execution(id) {
            return Ok(Some((*row).clone()));
        }
        let mark = kept.mark();
        let row = self.readers.read(|connection| reads::execution(connection, id))?.map(Arc::new);
        if let Some(row) = &row {
            kept.read(mark, KeptRow::Execution(row.clone()));
        }
        Ok(row.map(Arc::unwrap_or_clone))
    }

    async fn step(&self, key: &StepKey) -> Result<Option<StepRow>, StoreError> {
        match self.writer.kept().step(key) {
            Some(row) => Ok(Some((*row).clone())),
            None => self.readers.read(|connection| reads::step(connection, key)),
        }
    }

    async fn newest_steps(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        steps: &[StepId],
    ) -> Result<Vec<Option<StepRow>>, StoreError> {
        // A row of this very epoch is the newest.
        match self.writer.kept().steps(id, epoch, steps) {
            Some(rows) => Ok(rows.into_iter().map(|row| Some(Arc::unwrap_or_clone(row))).collect()),
            None => self.readers.read(|connection| reads::newest_steps(connection, id, epoch, steps)),
        }
    }

    async fn steps(
        &self,
        id: &ExecutionId,
        after: Option<&StepKey>,
        limit: usize,
    ) -> Result<Page<StepRow>, StoreError> {
        self.readers.read(|connection| reads::steps(connection, id, after, limit))
    }

    async fn children(
        &self,
        id: &ExecutionId,
        epoch: Epoch,
        step: &StepId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<StepRow>, StoreError> {
        self.readers.read(|connection| reads::children(connection, id, epoch, step, from, limit))
    }

    async fn last_child(&self, id: &ExecutionId, epoch: Epoch, step: &StepId) -> Result<Option<u32>, StoreError> {
        self.readers.read(|connection| reads::last_child(connection, id, epoch, step))
    }

    async fn join(&self, key: &JoinKey) -> Result<Option<JoinRow>, StoreError> {
        self.readers.read(|connection| reads::join(connection, key))
    }

    async fn attempts(&self, key: &StepKey) -> Result<Vec<AttemptRow>, StoreError> {
        self.readers.read(|connection| reads::attempts(connection, key))
    }

    async fn budget(&self, owner: &ExecutionId) -> Result<Option<BudgetRow>, StoreError> {
        self.readers.read(|connection| reads::budget(connection, owner))
    }

    async fn group(&self, name: &str) -> Result<Option<GroupRow>, StoreError> {
        self.readers.read(|connection| reads::group(connection, name))
    }

    async fn executions(
        &self,
        filter: &ExecutionFilter,
        after: Option<&ExecutionId>,
        limit: usize,
    ) -> Result<Page<ExecutionRow>, StoreError> {
        self.readers.read(|connection| reads::executions(connection, filter, None, after, limit))
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<ExecutionId>, StoreError> {
        self.readers.read(|connection| reads::due(connection, now, limit))
    }
}
