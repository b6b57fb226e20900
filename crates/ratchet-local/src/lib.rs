//! The ports in one process on one machine: `SQLite`, files and processes.

pub mod blob_store;
pub mod bus;
pub mod clock;
pub mod directory;
pub mod engine;
pub mod error;
pub mod housekeeping;
pub mod launcher;
pub mod lock;
pub mod place;
pub mod processes;
pub mod published;
pub mod rehearsal;
mod scratch;
pub mod secrets;
pub mod state_store;
pub mod supervise;
mod tasks;

#[cfg(test)]
mod contracts;
#[cfg(test)]
mod killed;
pub mod workspace;
