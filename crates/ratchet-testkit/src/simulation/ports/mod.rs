//! The ports of the engine over the world of a run. Each call may be come between, dropped and delayed before and after its effect.

mod blobs;
mod bus;
mod clock;
mod launcher;
mod step_cache;
mod store;
mod workspaces;

pub(crate) use blobs::SimulatedBlobs;
pub(crate) use bus::SimulatedBus;
pub(crate) use clock::SimulatedClock;
pub(crate) use launcher::{SimulatedLauncher, effect, end as task_ends};
pub(crate) use step_cache::SimulatedStepCache;
pub(crate) use store::SimulatedStore;
pub(crate) use workspaces::SimulatedWorkspaces;
