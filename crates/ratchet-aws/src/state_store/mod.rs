//! State in one DynamoDB table: conditional writes of single items, strongly consistent reads, two sparse indexes that are only hints.

mod artifacts;
mod commit;
mod conditional;
mod error;
mod item;
mod key;
mod reads;
mod shared;
mod step_cache;
mod table;
mod tasks;

use aws_sdk_dynamodb::Client;

pub use self::{step_cache::DynamoStepCache, table::Table, tasks::TaskStage};

/// The state store on DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoStateStore {
    client: Client,
    table: String,
}

impl DynamoStateStore {
    /// A store in a table of this name, which has the keys and indexes of [`Table`].
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }
}
