//! Adapters that live in memory: synchronous inside, ordered, and the same on every run.

mod artifacts;
mod blob_store;
mod clock;
mod event_bus;
mod secrets;
mod state_store;
mod step_cache;
mod workspaces;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use blob_store::MemoryBlobStore;
pub use clock::ManualClock;
pub use event_bus::MemoryEventBus;
pub use secrets::MemorySecrets;
pub use state_store::MemoryStateStore;
pub use step_cache::MemoryStepCache;
pub use workspaces::MemoryWorkspaces;

/// Locks what a test that panicked may have held: each change is made whole under its lock, so what is there is still sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
