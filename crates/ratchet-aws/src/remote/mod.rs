//! A deployment as somebody sees it who is not one of its functions: found by its stack's outputs, read with the caller's own credentials, changed only through the URL that proves who
//! they are.

mod door;
mod error;
mod stack;

use std::{collections::BTreeMap, sync::Arc};

use aws_config::SdkConfig;
use ratchet_core::{
    ids::{ExecutionId, StepId, StepKey},
    step::Answer,
};
use ratchet_engine::ports::{BlobStore, StateStore, StepCache};
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::error::RemoteError;
use self::{door::Door, stack::Outputs};
use crate::{
    DynamoStateStore, DynamoStepCache, S3BlobStore, deployment,
    published::{Published, PublishedWorkflows},
};

/// A deployment.
pub struct Remote {
    /// The name of its stack.
    pub name: String,
    /// The rows. They are read here; nothing but the deployment's functions writes them.
    pub store: Arc<dyn StateStore>,
    /// The content.
    pub blobs: Arc<dyn BlobStore>,
    /// Results that are kept.
    pub step_cache: Arc<dyn StepCache>,
    published: PublishedWorkflows,
    door: Door,
}

/// A published workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is called.
    pub published: Published,
    /// Its text, with all that it refers to.
    pub text: String,
}

/// An execution that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Asked {
    /// It.
    pub execution_id: ExecutionId,
    /// Whether this call made it; else it was there already.
    pub created: bool,
}

/// A workflow that was sent to be published.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sent {
    /// Whether it is new; else the same text was published before.
    pub created: bool,
}

/// What became of the queue of dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Redriven {
    /// How many letters were sent again.
    pub sent: u64,
    /// How many could not be, and stay.
    pub left: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// What an execution is asked for with.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The published workflow.
    pub workflow: String,
    /// Its version.
    pub version: String,
    /// The values of its inputs.
    pub inputs: BTreeMap<String, Value>,
    /// Variables.
    pub environment: BTreeMap<String, String>,
    /// Names it: the same again is the same execution.
    pub key: String,
}

impl Remote {
    /// The deployment of a stack, for the caller's own credentials and region.
    pub async fn of_stack(name: &str) -> Result<Self, RemoteError> {
        let config = deployment::config().await;
        let outputs = Outputs::of_stack(&config, name).await?;
        Self::new(&config, name, &outputs)
    }

    fn new(config: &SdkConfig, name: &str, outputs: &Outputs) -> Result<Self, RemoteError> {
        let client = aws_sdk_dynamodb::Client::new(config);
        let table = outputs.get("Table")?;
        let store = DynamoStateStore::new(client.clone(), table);
        let bucket = aws_sdk_s3::Client::new(config);
        Ok(Self {
            name: name.to_owned(),
            blobs: Arc::new(S3BlobStore::new(bucket, outputs.get("Bucket")?, "")),
            step_cache: Arc::new(DynamoStepCache::new(store.clone(), None)),
            store: Arc::new(store),
            published: PublishedWorkflows::new(client, table),
            door: Door::new(config, outputs.get("PeopleUrl")?)?,
        })
    }

    /// Publishes a workflow's text, with all that it refers to.
    pub async fn publish(&self, text: &str) -> Result<Sent, RemoteError> {
        self.door.ask("PUT", "/workflows", &json!({ "text": text })).await
    }

    /// The published workflow of a name and a version, or of no version the newest.
    pub async fn find(&self, name: &str, version: Option<&str>) -> Result<Option<Found>, RemoteError> {
        let unavailable = |reason| RemoteError::Unavailable { action: "read what is published", reason };
        let found = self.published.find(name, version).await.map_err(|error| unavailable(error.to_string()))?;
        let Some(published) = found else { return Ok(None) };
        let bytes = self.blobs.get(&published.digest).await.map_err(|error| unavailable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| unavailable(error.to_string()))?;
        Ok(Some(Found { published, text }))
    }

    /// Starts an execution of a published workflow.
    pub async fn start(&self, call: &Call) -> Result<Asked, RemoteError> {
        let Call { workflow, version, inputs, environment, key } = call;
        let body = json!({
            "workflow": workflow, "version": version, "inputs": inputs, "env": environment, "idempotency_key": key,
        });
        self.door.ask("POST", "/executions", &body).await
    }

    /// Answers a step that asks.
    pub async fn answer(&self, key: &StepKey, answer: &Answer) -> Result<(), RemoteError> {
        let action = if answer.approved { "approve" } else { "reject" };
        let body = json!({ "step": key.path.to_string(), "comment": answer.comment, "epoch": key.epoch });
        self.act(&key.execution, action, &body).await
    }

    /// Ends an execution.
    pub async fn cancel(&self, execution: &ExecutionId) -> Result<(), RemoteError> {
        self.act(execution, "cancel", &json!({})).await
    }

    /// Goes on with an execution in a new epoch; also some steps run again that were done. With so many US dollars more in its budget.
    pub async fn resume(
        &self,
        execution: &ExecutionId,
        from: &[StepId],
        added_usd: Option<f64>,
    ) -> Result<(), RemoteError> {
        let mut said = json!({ "from": from });
        // A deployment of an older version knows no such field.
        if let Some(added_usd) = added_usd {
            said["add_budget_usd"] = json!(added_usd);
        }
        self.act(execution, "resume", &said).await
    }

    /// Sends some of what could not be delivered or done again.
    pub async fn redrive(&self) -> Result<Redriven, RemoteError> {
        self.door.ask("POST", "/dead-letters/redrive", &json!({})).await
    }

    async fn act(&self, execution: &ExecutionId, action: &str, body: &Value) -> Result<(), RemoteError> {
        let _: Value = self.door.ask("POST", &format!("/executions/{execution}/{action}"), body).await?;
        Ok(())
    }
}
