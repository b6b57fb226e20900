//! The ports on AWS: state and kept results in one DynamoDB table, content in S3, secrets in Secrets Manager or Parameter Store, events on an `EventBridge` bus, tasks on Fargate;
//! and what the functions of a deployment do with what they are invoked with; and the deployment as its users ask it.
//!
//! The only crate that names types of the AWS SDK. It translates: what is decided is decided in the engine, and a store, a bus or a launcher here keeps the same
//! contract as the one on a single machine.

mod blob_store;
mod clock;
mod contents;
pub mod deployment;
pub mod event_bus;
pub mod launcher;
pub mod published;
pub mod remote;
mod secrets;
mod state_store;
pub mod task;
pub mod trigger;
pub mod workspaces;

pub use blob_store::S3BlobStore;
pub use clock::SystemClock;
pub use contents::BlobContents;
pub use secrets::{ManagedSecrets, ParameterSecrets};
pub use state_store::{DynamoStateStore, DynamoStepCache, Table, TaskStage};

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

#[cfg(test)]
mod answers;
#[cfg(test)]
mod contracts;
#[cfg(test)]
mod costs;
#[cfg(test)]
mod deployed;
#[cfg(test)]
mod emulator;
#[cfg(test)]
mod requests;
