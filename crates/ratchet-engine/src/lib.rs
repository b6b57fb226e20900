//! The engine: the ports that it stands on, with their contracts in prose, and the handlers that load, decide, commit and perform.
//!
//! Every handler follows one creed: what changes is decided by `ratchet-core` from what was loaded, it is committed by conditional
//! writes, and only then is the world acted upon. Whatever follows from a committed change can be derived again from the state, so a
//! handler may die at any await: the execution's wake-up finds what it left undone.

mod advance;
pub mod artifacts;
mod asked;
mod claims;
mod conversation;
mod edit;
mod engine;
mod execution_row;
pub mod figures;
mod handlers;
mod inline;
mod items;
pub mod masks;
mod nested;
mod noted;
pub mod order;
pub mod ports;
mod prepare;
mod run;
mod scope;
mod seen;
mod source;
pub mod step_cache;
mod trees;
mod turns;
pub mod values;
pub mod view;
mod waiting;
mod waits;

pub use edit::{Difference, EditRequest, Fate, Why};
pub use engine::{Engine, EngineError, Ports, ResumeRequest, StartRequest, Started};
pub use seen::Seen;
pub use source::{RepositorySource, RunSource};
