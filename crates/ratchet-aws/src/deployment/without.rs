//! What a deployment does not have: it runs no tasks, so that its runs have no files and nothing to keep. Whoever asks for such a thing is told.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, StepKey},
};
use ratchet_definition::files::{FileAccess, NoFiles};
use ratchet_engine::{
    order::Order,
    ports::{
        Branch, CacheError, Entry, EntryFilter, EntryName, Evicted, Laid, LaunchError, Lease, Leased, Listed, Looked,
        Page, Published, Slot, Statistic, StepCache, TaskLauncher, TaskState, UseFilter, Used, WorkspaceError,
        Workspaces, Written,
    },
};

/// Why there is none.
const REASON: &str = "this deployment runs no tasks: its steps are those that the engine does itself";

/// No task is started. A step that needs one fails and says so.
pub(super) struct Tasks;

/// No run has files.
pub(super) struct Files;

/// No result is kept.
pub(super) struct Results;

#[async_trait]
impl TaskLauncher for Tasks {
    async fn reserve(&self) -> Result<Slot, LaunchError> {
        Ok(Slot::unlimited())
    }

    async fn launch(&self, _slot: Slot, _order: Order) -> Result<(), LaunchError> {
        Err(LaunchError::Refused(REASON.to_owned()))
    }

    async fn state(&self, _key: &StepKey, _attempt: u32) -> Result<TaskState, LaunchError> {
        Ok(TaskState::Gone)
    }

    async fn stop(&self, _key: &StepKey, _attempt: u32) -> Result<(), LaunchError> {
        Ok(())
    }
}

/// A refusal of something that is not tried again: nothing here passes.
fn refused<T>(what: &str) -> Result<T, WorkspaceError> {
    Err(WorkspaceError::Damaged { what: what.to_owned(), reason: REASON.to_owned() })
}

#[async_trait]
impl Workspaces for Files {
    async fn files(
        &self,
        _execution: &ExecutionRow,
        _tree: Option<&Digest>,
    ) -> Result<Arc<dyn FileAccess>, WorkspaceError> {
        Ok(Arc::new(NoFiles))
    }

    async fn write(
        &self,
        _execution: &ExecutionRow,
        _tree: Option<&Digest>,
        path: &str,
        _content: &[u8],
    ) -> Result<Written, WorkspaceError> {
        refused(path)
    }

    async fn merge(&self, _execution: &ExecutionRow, _branches: &[Branch]) -> Result<Digest, WorkspaceError> {
        refused("the tree of several steps")
    }

    async fn lay(
        &self,
        _execution: &ExecutionRow,
        _base: &Digest,
        _left: &Digest,
        _outputs: &[String],
    ) -> Result<Laid, WorkspaceError> {
        refused("a tree")
    }

    async fn content(&self, _execution: &ExecutionRow, _tree: &Digest) -> Result<Digest, WorkspaceError> {
        refused("a tree")
    }

    async fn size(&self, _execution: &ExecutionRow, _left: &Digest) -> Result<u64, WorkspaceError> {
        refused("a tree")
    }
}

#[async_trait]
impl StepCache for Results {
    async fn get(&self, _name: &EntryName, _now: Timestamp) -> Result<Looked, CacheError> {
        Ok(Looked::Absent)
    }

    async fn publish(&self, _entry: Entry, _used: Used, _replace: bool) -> Result<Published, CacheError> {
        Ok(Published::Passed)
    }

    async fn note(&self, _used: Used) -> Result<(), CacheError> {
        Ok(())
    }

    async fn lease(&self, _name: &EntryName, _lease: Lease, _over: Option<&Lease>) -> Result<Leased, CacheError> {
        Ok(Leased::Taken)
    }

    async fn release(&self, _name: &EntryName, _holder: &StepKey, _attempt: u32) -> Result<(), CacheError> {
        Ok(())
    }

    async fn remove(&self, _name: &EntryName) -> Result<bool, CacheError> {
        Ok(false)
    }

    async fn withdraw(&self, _name: &EntryName, _made_by: &StepKey, _now: Timestamp) -> Result<bool, CacheError> {
        Ok(false)
    }

    async fn confirm(&self, _name: &EntryName, _made_by: &StepKey) -> Result<(), CacheError> {
        Ok(())
    }

    async fn invalidate(&self, _filter: &EntryFilter) -> Result<u64, CacheError> {
        Ok(0)
    }

    async fn evict(&self, _bytes_max: u64) -> Result<Evicted, CacheError> {
        Ok(Evicted::default())
    }

    async fn entries(
        &self,
        _filter: &EntryFilter,
        _after: Option<&EntryName>,
        _limit: usize,
    ) -> Result<Page<Listed>, CacheError> {
        Ok(Page { rows: Vec::new(), more: false })
    }

    async fn uses(&self, _filter: &UseFilter, _limit: usize) -> Result<Vec<Used>, CacheError> {
        Ok(Vec::new())
    }

    async fn statistics(&self, _filter: &UseFilter) -> Result<Vec<Statistic>, CacheError> {
        Ok(Vec::new())
    }
}
