//! What tests of the engine share: adapters of the ports that live in memory, one contract suite per port that every adapter passes, and
//! builders of rows.
//!
//! Nothing here reads the machine's clock or its randomness, so that a test which fails does so again.

pub mod builders;
pub mod contract;
#[cfg(test)]
mod keys;
pub mod memory;
pub mod messages_api;
pub mod simulation;
