//! What lies in the queue of dead letters is sent again, once what kept it from being done is repaired.
//!
//! A message is the event itself, where a rule or a schedule could not deliver it; what a function was invoked with, where that failed; or an event that was for later. Each goes where it
//! was meant to go. One that cannot go there stays in the queue.

use std::env;

use aws_config::SdkConfig;
use aws_sdk_sqs::{Client, error::DisplayErrorContext};
use serde_json::{Value, json};

use super::{Invocation, Trigger, messages::RedriveAnswer, refusal::Refusal};
use crate::{
    deployment::{Failure, shape},
    event_bus::{SOURCE, open},
};

/// The variable that names the queue: `template.yaml` sets it.
const VARIABLE: &str = "RATCHET_DEAD_LETTERS_URL";
/// Batches of one request: it answers before whoever asked gives up.
const BATCHES_MAX: usize = 5;
/// Messages of a batch: the most that the queue gives.
const BATCH: i32 = 10;
/// Seconds for which nobody else sees a message that was looked at.
const HIDDEN_SECONDS: i32 = 300;

/// The queue of what could not be delivered or done.
#[derive(Debug, Clone)]
pub(super) struct DeadLetters {
    client: Client,
    /// None where the deployment names none.
    url: Option<String>,
}

/// What a message is.
#[derive(Debug, PartialEq)]
enum Letter {
    /// An event of the engine's own.
    Own(Value),
    /// An event that may start workflows.
    Event(Value),
    /// A call that starts one, and the request that it came in.
    Call(Value, String),
    /// Something that came again by itself meanwhile: a tick of the clock, or that a task ended.
    Over,
    /// Nothing that this version knows.
    Unknown,
}

impl DeadLetters {
    /// That of the deployment which this process's environment names.
    pub(super) fn from_environment(config: &SdkConfig) -> Self {
        let url = env::var(VARIABLE).ok().filter(|url| !url.is_empty());
        Self { client: Client::new(config), url }
    }
}

impl Letter {
    fn of(body: &Value) -> Self {
        Self::of_request(body, "")
    }

    fn of_request(body: &Value, request: &str) -> Self {
        if let Some(payload) = body.get("requestPayload") {
            let request = body["requestContext"]["requestId"].as_str().unwrap_or_default();
            return Self::of_request(payload, request);
        }
        let is_event = body["detail-type"].is_string();
        match body["source"].as_str() {
            Some(SOURCE) => Self::Own(body["detail"].clone()),
            Some("aws.ecs") => Self::Over,
            _ if is_event && body["detail-type"] == "Scheduled Event" && body["detail"].get("workflow").is_none() => {
                Self::Over
            }
            _ if is_event => Self::Event(body.clone()),
            _ if body["at"].is_string() && body["detail"].is_object() => Self::Own(body["detail"].clone()),
            _ if body["workflow"].is_string() && !request.is_empty() => Self::Call(body.clone(), request.to_owned()),
            _ => Self::Unknown,
        }
    }
}

impl Trigger {
    /// Sends some of what lies there again. How many went, how many stay, and whether there may be more.
    pub(super) async fn redrive(&self, function: &str) -> Result<Value, Refusal> {
        let Some(url) = &self.dead_letters.url else {
            return Err(Refusal::NoSuchPath("this deployment names no queue of dead letters".to_owned()));
        };
        let (mut sent, mut left, mut more) = (0, 0, true);
        for _ in 0..BATCHES_MAX {
            let messages = self.receive(url).await.map_err(Refusal::ForNow)?;
            if messages.is_empty() {
                more = false;
                break;
            }
            for (body, receipt) in messages {
                match self.again(&body, function).await {
                    Ok(()) => {
                        self.forget(url, &receipt).await.map_err(Refusal::ForNow)?;
                        sent += 1;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a dead letter stays");
                        left += 1;
                    }
                }
            }
        }
        Ok(json!(RedriveAnswer { sent, left, more }))
    }

    async fn again(&self, body: &str, function: &str) -> Result<(), Failure> {
        let body: Value =
            serde_json::from_str(body).map_err(|error| Failure::NotUnderstood("a dead letter", error.to_string()))?;
        match Letter::of(&body) {
            Letter::Own(detail) => {
                let ports = self.deployment.engine.ports();
                let envelope = open(detail, ports.blobs.as_ref()).await?;
                Ok(ports.bus.publish(envelope).await.map_err(ratchet_engine::EngineError::from)?)
            }
            Letter::Event(event) => self.event(&event).await.map(drop),
            Letter::Call(call, request) => {
                let invocation = Invocation { function: function.to_owned(), request };
                Box::pin(self.invoke(call, &invocation)).await.map(drop)
            }
            Letter::Over => Ok(()),
            Letter::Unknown => Err(Failure::NotUnderstood("a dead letter", shape(&body))),
        }
    }

    /// Messages, each with what it is deleted by.
    async fn receive(&self, url: &str) -> Result<Vec<(String, String)>, Failure> {
        let request = self.dead_letters.client.receive_message().queue_url(url).max_number_of_messages(BATCH);
        let received = request.visibility_timeout(HIDDEN_SECONDS).send().await;
        let received = received.map_err(|error| Failure::DeadLetters(DisplayErrorContext(&error).to_string()))?;
        let messages = received.messages.unwrap_or_default().into_iter();
        Ok(messages.filter_map(|message| message.body.zip(message.receipt_handle)).collect())
    }

    async fn forget(&self, url: &str, receipt: &str) -> Result<(), Failure> {
        let deleted = self.dead_letters.client.delete_message().queue_url(url).receipt_handle(receipt).send().await;
        deleted.map(drop).map_err(|error| Failure::DeadLetters(DisplayErrorContext(&error).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_letter_goes_where_it_was_meant_to_go() {
        let own = json!({"source": "ratchet", "detail-type": "StepReady", "detail": {"execution": "e"}});
        let push = json!({"id": "1", "source": "aws.codecommit", "detail-type": "CodeCommit Repository State Change", "detail": {}});
        let time = json!({"id": "1", "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {"workflow": "w"}});
        let tick = json!({"id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        let ended = json!({"id": "1", "source": "aws.ecs", "detail-type": "ECS Task State Change", "detail": {}});
        let call = json!({"workflow": "w"});
        let failed = |payload: &Value| json!({"version": "1.0", "requestContext": {"requestId": "r", "condition": "RetriesExhausted"}, "requestPayload": payload});
        for (body, letter) in [
            (own.clone(), Letter::Own(json!({"execution": "e"}))),
            (failed(&own), Letter::Own(json!({"execution": "e"}))),
            (
                json!({"at": "2026-01-01T00:00:00Z", "detail": {"execution": "e"}}),
                Letter::Own(json!({"execution": "e"})),
            ),
            (push.clone(), Letter::Event(push.clone())),
            (failed(&push), Letter::Event(push)),
            (time.clone(), Letter::Event(time)),
            (failed(&tick), Letter::Over),
            (failed(&ended), Letter::Over),
            (failed(&call), Letter::Call(call.clone(), "r".to_owned())),
            // Nobody invoked the function with it.
            (call, Letter::Unknown),
            (json!([]), Letter::Unknown),
        ] {
            assert_eq!(Letter::of(&body), letter, "{body}");
        }
    }
}
