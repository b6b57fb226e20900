//! What the doors of this function take and answer. `docs/api.md` shows each, and `docs/api.schema.json` is made of these types.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ratchet_core::{
    ids::{Digest, ExecutionId, StepId},
    status::ExecutionStatus,
};
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Starts a published workflow.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    /// The workflow's name.
    pub(super) workflow: String,
    /// Its version; without one the newest.
    #[serde(default)]
    pub(super) version: Option<String>,
    /// The values of its inputs. Text is read as the type that the workflow declares.
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, Value>,
    /// Variables that its templates read as `env`; together at most 32 KiB.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// Names the execution: the same again is the same execution. Without one, each request is another.
    #[serde(default)]
    pub(super) idempotency_key: Option<String>,
}

/// Answers a step that asks for an approval.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    /// The step that asks; a child of a fan-out as `step[2]`.
    pub(super) step: String,
    /// What later steps read.
    #[serde(default)]
    pub(super) comment: Option<String>,
    /// The epoch that the person saw; without one the current epoch.
    #[serde(default)]
    pub(super) epoch: Option<u32>,
}

/// Ends an execution.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    /// Why, for the history.
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// Goes on with an execution that stopped.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    /// Steps that run again, with all that depend on them.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(super) from: Vec<StepId>,
    /// What is added to the money of the run's budget, in US dollars: more than 0.
    #[serde(default)]
    pub(super) add_budget_usd: Option<f64>,
}

/// Publishes a workflow.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    /// The definition with all that it refers to, as `ratchet publish` sends it.
    pub(super) text: String,
}

/// An execution that was started or changed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Deserialize, JsonSchema), serde(deny_unknown_fields))]
pub(super) struct Invoked {
    /// The execution.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) execution_id: ExecutionId,
    /// Where it stands.
    #[cfg_attr(test, schemars(schema_with = "super::page::status"))]
    pub(super) status: ExecutionStatus,
}

/// An execution that a person started.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Deserialize, JsonSchema), serde(deny_unknown_fields))]
pub(super) struct StartedAnswer {
    /// The execution.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) execution_id: ExecutionId,
    /// Where it stands.
    #[cfg_attr(test, schemars(schema_with = "super::page::status"))]
    pub(super) status: ExecutionStatus,
    /// Whether this request made it; else it was there already.
    pub(super) created: bool,
}

/// What an event or a webhook started.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Deserialize, JsonSchema), serde(deny_unknown_fields))]
pub(super) struct Started {
    /// An execution of each workflow that it starts.
    pub(super) started: Vec<StartedWorkflow>,
}

/// An execution of one of them.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Deserialize, JsonSchema), serde(deny_unknown_fields))]
pub(super) struct StartedWorkflow {
    /// The workflow's name.
    pub(super) workflow: String,
    /// The execution.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) execution_id: ExecutionId,
    /// Where it stands.
    #[cfg_attr(test, schemars(schema_with = "super::page::status"))]
    pub(super) status: ExecutionStatus,
}

/// A workflow that is published.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Deserialize, JsonSchema), serde(deny_unknown_fields))]
pub(super) struct PublishedAnswer {
    /// Its name.
    pub(super) workflow: String,
    /// Its version.
    pub(super) version: String,
    /// The SHA-256 of its text.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) digest: Digest,
    /// When it was published first, by RFC 3339.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) published_at: Timestamp,
    /// Whether this request published it; else the same text was published before.
    pub(super) created: bool,
}

/// What became of the queue of dead letters.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Deserialize, JsonSchema), serde(deny_unknown_fields))]
pub(super) struct RedriveAnswer {
    /// How many letters were sent again.
    pub(super) sent: u64,
    /// How many could not be, and stay.
    pub(super) left: u64,
    /// Whether there may be more: ask again.
    pub(super) more: bool,
}

/// Why something is not done.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Deserialize, JsonSchema), serde(deny_unknown_fields))]
pub(super) struct Refused {
    /// The reason.
    pub(super) error: Why,
}

/// The reason.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(Deserialize, JsonSchema), serde(deny_unknown_fields))]
pub(super) struct Why {
    /// The stable code of a page in `docs/errors`.
    pub(super) code: String,
    /// What happened.
    pub(super) message: String,
    /// What to do about it.
    pub(super) help: Option<String>,
}

impl Started {
    /// The executions, whether this event made them or not.
    pub(super) fn of(started: Vec<(StartedWorkflow, bool)>) -> Self {
        Self { started: started.into_iter().map(|(execution, _)| execution).collect() }
    }
}
