//! An event of a bus: a push, a time, or anything that a published workflow waits for.

use std::collections::BTreeMap;

use ratchet_core::history::Actor;
use ratchet_definition::trigger;
use serde_json::{Value, json};

use super::{
    Trigger,
    messages::{Started, StartedWorkflow},
    refusal::Refusal,
    start::Beginning,
};
use crate::{
    deployment::{Failure, shape},
    published::{Published, TriggerKind},
};

/// What became of an event.
#[derive(Default)]
pub(super) struct Outcome {
    /// The executions, each with whether this event made it.
    pub(super) started: Vec<(StartedWorkflow, bool)>,
    /// What could not be started now.
    pub(super) for_now: usize,
}

impl Trigger {
    /// Starts what the event starts. The same event again starts nothing more.
    pub(super) async fn event(&self, event: &Value) -> Result<Value, Failure> {
        let Some(id) = event["id"].as_str() else {
            return Err(Failure::NotUnderstood("an event without an `id`", shape(event)));
        };
        let is_tick = event["detail-type"] == "Scheduled Event";
        let first = if is_tick { TriggerKind::Schedule } else { TriggerKind::Push };
        let candidates = self.candidates(&[first, TriggerKind::Event]).await?;
        // A schedule of one workflow says whose it is.
        let named = event["detail"]["workflow"].as_str().filter(|_| is_tick);
        let candidates = candidates.into_iter().filter(|found| named.is_none_or(|name| found.name == name)).collect();
        let key = match named {
            // A time comes once, however often it is delivered, and whichever schedule it comes from.
            Some(_) => format!("schedule {} {}", event["detail"]["expression"], event["time"]),
            None => format!("event {id}"),
        };
        let outcome = self.start_each(candidates, event, &key).await;
        if outcome.for_now > 0 {
            return Err(Failure::Some { failed: outcome.for_now, all: outcome.for_now + outcome.started.len() });
        }
        Ok(json!(Started::of(outcome.started)))
    }

    /// The workflows that something of these kinds may start, each once.
    pub(super) async fn candidates(&self, kinds: &[TriggerKind]) -> Result<Vec<Published>, Failure> {
        let mut found = BTreeMap::new();
        for kind in kinds {
            found.extend(
                self.deployment.published.started_by(*kind).await?.into_iter().map(|one| (one.name.clone(), one)),
            );
        }
        Ok(found.into_values().collect())
    }

    /// Starts those of some workflows that an event starts. One that cannot be started keeps no other from it.
    pub(super) async fn start_each(&self, candidates: Vec<Published>, event: &Value, key: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for published in candidates {
            match self.start_one(&published, event, key).await {
                Ok(Some(started)) => outcome.started.push(started),
                Ok(None) => {}
                Err(Refusal::ForNow(error)) => {
                    tracing::warn!(workflow = published.name, %error, "not started now");
                    outcome.for_now += 1;
                }
                Err(refusal) => {
                    tracing::error!(workflow = published.name, code = refusal.code(), %refusal, "not started");
                }
            }
        }
        outcome
    }

    async fn start_one(
        &self,
        published: &Published,
        event: &Value,
        key: &str,
    ) -> Result<Option<(StartedWorkflow, bool)>, Refusal> {
        let definition = self.definition(published).await?;
        let now = self.deployment.engine.ports().clock.now();
        let start = match trigger::start(&definition.workflow, event, now) {
            Ok(start) => start,
            Err(reason) => {
                tracing::debug!(workflow = published.name, %reason, "not meant");
                return Ok(None);
            }
        };
        let beginning = Beginning {
            key: key.to_owned(),
            inputs: start.inputs,
            environment: BTreeMap::new(),
            trigger: start.trigger,
            actor: Actor::Engine,
        };
        let started = self.start(&definition, beginning).await?;
        let (execution_id, status) = (started.row.id, started.row.status);
        Ok(Some((StartedWorkflow { workflow: published.name.clone(), execution_id, status }, started.created)))
    }
}
