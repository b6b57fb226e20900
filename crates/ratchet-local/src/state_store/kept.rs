use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ratchet_core::{
    execution::ExecutionRow,
    ids::{Epoch, ExecutionId, StepId, StepKey, StepPath},
    step::StepRow,
};
use rusqlite::Connection;

use super::shared_header::{Header, SharedHeader};

/// The most rows of a kind that are kept.
const ROWS_MAX: usize = 1024;

/// Rows as this process wrote or read them last. A handler reads what the one before it has just written: it need not be asked of the file, and parsed, again.
///
/// Nothing is given from here unless the file still is as it was: see [`SharedHeader`].
#[derive(Debug)]
pub(super) struct Kept {
    header: Option<SharedHeader>,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    /// The header of the state that the rows belong to.
    at: Option<Header>,
    executions: HashMap<ExecutionId, Arc<ExecutionRow>>,
    steps: HashMap<StepKey, Arc<StepRow>>,
}

/// A row that can be kept.
#[derive(Debug, Clone)]
pub(super) enum KeptRow {
    Execution(Arc<ExecutionRow>),
    Step(Arc<StepRow>),
}

/// What a file was like when something began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(Option<Header>);

impl Mark {
    /// What stood in the header; `None` where that is not known.
    pub(super) fn header(self) -> Option<Header> {
        self.0
    }
}

impl Kept {
    /// Nothing yet. What is kept must not be asked for after the connection was closed.
    pub(super) fn new(connection: &Connection) -> Self {
        Self { header: SharedHeader::of(connection), rows: Mutex::default() }
    }

    /// The row of an execution, where it is known.
    pub(super) fn execution(&self, id: &ExecutionId) -> Option<Arc<ExecutionRow>> {
        self.current()?.executions.get(id).cloned()
    }

    /// The row of a step, where it is known.
    pub(super) fn step(&self, key: &StepKey) -> Option<Arc<StepRow>> {
        self.current()?.steps.get(key).cloned()
    }

    /// The rows of some steps in one epoch, where all are known.
    pub(super) fn steps(&self, id: &ExecutionId, epoch: Epoch, steps: &[StepId]) -> Option<Vec<Arc<StepRow>>> {
        let rows = self.current()?;
        let key = |step: &StepId| StepKey { execution: id.clone(), epoch, path: StepPath::step(step.clone()) };
        steps.iter().map(|step| rows.steps.get(&key(step)).cloned()).collect()
    }

    /// Before a row is read from the file, or a transaction writes (then while nobody else can).
    pub(super) fn mark(&self) -> Mark {
        Mark(self.header.as_ref().and_then(SharedHeader::read))
    }

    /// Keeps a row that was read after the mark.
    pub(super) fn read(&self, mark: Mark, row: KeptRow) {
        let mut rows = self.rows();
        // Where somebody has committed meanwhile, the row may be of before or after.
        if mark.0.is_some() && self.mark().0 == mark.0 {
            rows.keep(mark.0, mark.0, [row]);
        }
    }

    /// Keeps the rows that a transaction has written, which began at the mark and was committed just now.
    pub(super) fn committed(&self, mark: Mark, written: impl IntoIterator<Item = KeptRow>) {
        let now = self.mark().0;
        let is_ours = |now: &Header, then: &Header| now.is_at_most_one_commit_after(then);
        // Another process may have committed right after this one.
        let known = now.zip(mark.0).filter(|(now, then)| is_ours(now, then)).map(|(now, _)| now);
        self.rows().keep(mark.0, known, written);
    }

    fn current(&self) -> Option<MutexGuard<'_, Rows>> {
        let rows = self.rows();
        (rows.at.is_some() && self.mark().0 == rows.at).then_some(rows)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    /// Brings the rows, which must be of the state `from`, to the state `to`.
    fn keep(&mut self, from: Option<Header>, to: Option<Header>, changed: impl IntoIterator<Item = KeptRow>) {
        if self.at.is_none() || self.at != from {
            self.executions.clear();
            self.steps.clear();
        }
        self.at = to;
        if to.is_none() {
            return;
        }
        for row in changed {
            match row {
                KeptRow::Execution(row) => put(&mut self.executions, row.id.clone(), row),
                KeptRow::Step(row) => put(&mut self.steps, row.key.clone(), row),
            }
        }
    }
}

/// Where there are too many, all go: what is needed again comes back with its next read.
fn put<K: std::hash::Hash + Eq, V>(rows: &mut HashMap<K, V>, key: K, row: V) {
    if rows.len() >= ROWS_MAX && !rows.contains_key(&key) {
        rows.clear();
    }
    rows.insert(key, row);
}
