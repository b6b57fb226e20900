//! One suite per port. An adapter's tests call it with a function that makes a fresh adapter; a sentence of the port's contract that does not
//! hold panics with what was expected.

mod agent;
mod blob_store;
mod clock;
mod event_bus;
mod secrets;
mod state_store;
mod step_cache;
mod task_launcher;
mod workspaces;

pub use agent::agent;
pub use blob_store::blob_store;
pub use clock::clock;
pub use event_bus::{BUS_EXECUTION, Consumer, event_bus};
pub use secrets::secrets;
pub use state_store::state_store;
pub use step_cache::{CacheUnderTest, step_cache};
pub use task_launcher::{LAUNCHER_EXECUTION, Launching, task_launcher};
pub use workspaces::{directories, workspaces};
