//! `aws lambda invoke`: a workflow is started by its name.

use ratchet_core::history::Actor;
use ratchet_definition::inputs::GivenInput;
use ratchet_engine::Started;
use serde_json::{Value, json};

use super::{
    Invocation, Trigger,
    messages::{Call, Invoked},
    refusal::Refusal,
    start::Beginning,
};
use crate::deployment::Failure;

/// Bytes that names and values of variables may have together: they stand in the execution's row.
const ENVIRONMENT_BYTES_MAX: usize = 32 * 1024;

impl Trigger {
    /// Starts what a call asks for. What is wrong with the call is its answer; what may pass fails the invocation.
    pub(super) async fn invoke(&self, payload: Value, invocation: &Invocation) -> Result<Value, Failure> {
        // An invocation that is tried again is the same execution, also where the caller gave it no key. Who may invoke the function is known to IAM, not to the function.
        let key = format!("request {}", invocation.request);
        match self.called(payload, key, Actor::Engine).await {
            Ok(started) => Ok(json!(Invoked { execution_id: started.row.id, status: started.row.status })),
            Err(Refusal::ForNow(failure)) => Err(failure),
            Err(refusal) => {
                tracing::warn!(code = refusal.code(), %refusal, "a call was refused");
                Ok(refusal.answer())
            }
        }
    }

    /// Starts what a call asks for, under a key where the call has none.
    pub(super) async fn called(&self, payload: Value, key: String, actor: Actor) -> Result<Started, Refusal> {
        let call: Call = serde_json::from_value(payload).map_err(|error| Refusal::Payload(error.to_string()))?;
        let bytes: usize = call.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > ENVIRONMENT_BYTES_MAX {
            return Err(Refusal::Payload(format!("`env` has {bytes} bytes, and {ENVIRONMENT_BYTES_MAX} are the most")));
        }
        let definition = self.find(&call.workflow, call.version.as_deref()).await?;
        let beginning = Beginning {
            key: call.idempotency_key.unwrap_or(key),
            inputs: call.inputs.into_iter().map(|(name, value)| (name, given(value))).collect(),
            environment: call.env,
            trigger: json!({"type": if matches!(actor, Actor::Person(_)) { "manual" } else { "invoke" }}),
            actor,
        };
        self.start(&definition, beginning).await
    }
}

/// Text is read as the type that the workflow declares, as on a command line.
fn given(value: Value) -> GivenInput {
    match value {
        Value::String(text) => GivenInput::Text(text),
        other => GivenInput::Value(other),
    }
}
