//! What the engine needs of the world. Each port is a trait whose contract stands in prose on it; `ratchet-testkit` has one suite per port, which
//! every adapter passes.

mod agent;
mod artifact_store;
mod attempt_files;
mod blob_store;
mod clock;
mod event_bus;
mod observer;
mod secrets;
mod state_store;
mod step_cache;
mod task_launcher;
mod workspace;

pub use agent::{Agent, AgentError, AgentFault, AgentReply, AgentRequest, ModelShare, Progress, SessionPoint};
pub use artifact_store::{ArtifactFilter, ArtifactStore};
pub use attempt_files::{AttemptFiles, FileView};
pub use blob_store::{BlobClass, BlobError, BlobStore, BlobStream, Put, Verified};
pub use clock::Clock;
pub use event_bus::{BusError, Envelope, Event, EventBus};
pub use observer::{Observer, Silent};
pub use secrets::{SecretError, Secrets};
pub use state_store::{
    Committed, Conflict, Current, ExecutionFilter, Expectation, Page, StateStore, StoreError, Write, WriteOutcome,
};
pub use step_cache::{
    CacheError, EXPECTED_UNKNOWN, Entry, EntryFilter, EntryName, Evicted, Lease, Leased, Listed, Looked, Published,
    Statistic, StepCache, UseFilter, Used,
};
pub use task_launcher::{AttemptPlace, AttemptRunner, LaunchError, Slot, Stop, StopSignal, TaskLauncher, TaskState};
pub use workspace::{Branch, Laid, WorkspaceError, Workspaces, Written};
