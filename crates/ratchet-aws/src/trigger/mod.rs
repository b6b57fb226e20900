//! What starts executions, and what people do with them. Each door of the function takes its own kind of payload and no other: a payload never says who sent it.
//!
//! | door | how it is known | what comes |
//! | --- | --- | --- |
//! | the function itself | no qualifier | a call, or an event of a bus |
//! | `people` | the qualifier of its function URL, which asks for IAM | start, approve, reject, cancel, resume, publish, redrive |
//! | `webhooks` | the qualifier of its function URL, which asks for nothing | requests that are signed |

mod event;
mod http;
mod invoke;
mod messages;
#[cfg(test)]
pub(crate) mod page;
mod people;
mod publish;
mod redrive;
mod refusal;
mod schedules;
mod start;
mod webhook;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_config::SdkConfig;
use ratchet_core::ids::Digest;
use serde_json::Value;

use self::{redrive::DeadLetters, schedules::Schedules, start::Definition, webhook::WebhookSecret};
use crate::deployment::{self, BeginError, Deployment, Failure, Settings};

/// The function that starts executions.
pub struct Trigger {
    deployment: Deployment,
    /// What was compiled already, by its text.
    definitions: Mutex<HashMap<Digest, Arc<Definition>>>,
    webhook_secret: WebhookSecret,
    schedules: Schedules,
    dead_letters: DeadLetters,
}

/// One invocation of the function, as the service says it: nothing of this is the sender's to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The function's ARN, with the qualifier that was invoked.
    pub function: String,
    /// The request, the same when it is tried again.
    pub request: String,
}

/// Where a payload came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Function,
    People,
    Webhooks,
}

impl Trigger {
    /// The function of the deployment that this process's environment names.
    pub async fn from_environment() -> Result<Self, BeginError> {
        let config = deployment::config().await;
        Ok(Self::new(&config, Deployment::new(&config, &deployment::config().await, Settings::from_environment()?)?))
    }

    /// The function of a deployment.
    pub fn new(config: &SdkConfig, deployment: Deployment) -> Self {
        let webhook_secret = WebhookSecret::new(config, deployment.settings.webhook_secret.clone());
        let schedules = Schedules::from_environment(config);
        let dead_letters = DeadLetters::from_environment(config);
        Self { deployment, definitions: Mutex::default(), webhook_secret, schedules, dead_letters }
    }

    /// Takes what the function was invoked with, and gives what it answers. The same again is the same execution.
    pub async fn handle(&self, payload: Value, invocation: &Invocation) -> Result<Value, Failure> {
        // In boxes: together their futures are too deep a type for the compiler.
        match invocation.door() {
            Door::People => Ok(Box::pin(self.person(&payload, invocation)).await),
            Door::Webhooks => Ok(Box::pin(self.webhook(&payload)).await),
            Door::Function if payload["detail-type"].is_string() => Box::pin(self.event(&payload)).await,
            Door::Function => Box::pin(self.invoke(payload, invocation)).await,
        }
    }
}

impl Invocation {
    /// The function's ARN without the qualifier.
    fn unqualified(&self) -> String {
        self.function.split(':').take(7).collect::<Vec<_>>().join(":")
    }

    fn door(&self) -> Door {
        match self.function.split(':').nth(7) {
            Some("people") => Door::People,
            Some("webhooks") => Door::Webhooks,
            _ => Door::Function,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_known_by_its_qualifier_alone() {
        let door = |qualifier: &str| {
            let function = format!("arn:aws:lambda:us-east-1:000000000000:function:ratchet-trigger{qualifier}");
            Invocation { function, request: String::new() }.door()
        };
        let doors = ["", ":$LATEST", ":people", ":webhooks", ":other"].map(door);
        assert_eq!(doors, [Door::Function, Door::Function, Door::People, Door::Webhooks, Door::Function]);
    }
}
