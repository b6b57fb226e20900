//! The ports on AWS: state in one DynamoDB table, events on an `EventBridge` bus.
//!
//! The only crate that names types of the AWS SDK. It translates: what is decided is decided in the engine, and a store, a bus or a launcher here keeps the same
//! contract as the one on a single machine.

mod clock;
pub mod event_bus;
mod state_store;

pub use clock::SystemClock;
pub use state_store::{DynamoStateStore, Table};

#[cfg(test)]
mod answers;
#[cfg(test)]
mod contracts;
#[cfg(test)]
mod emulator;
#[cfg(test)]
mod requests;
