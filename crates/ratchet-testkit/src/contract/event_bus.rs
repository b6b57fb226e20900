use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    ids::{StepId, StepPath},
    step::{FailureClass, StepFailure, StepResult, Usage},
};
use ratchet_engine::{
    order::{AttemptOutcome, AttemptReport, Token},
    ports::{Envelope, Event, EventBus},
};
use tokio::{task::JoinSet, time::timeout};

use crate::builders::{envelope, step_key, step_ready};

/// The run that all events of [`event_bus`] are about.
pub const BUS_EXECUTION: &str = "run";

/// A bus under test with the consumer's side of it.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// The bus.
    fn bus(&self) -> Arc<dyn EventBus>;

    /// The time that the bus goes by.
    fn now(&self) -> Timestamp;

    /// Waits for the next event of [`BUS_EXECUTION`]. Where time stands still, it first moves on to the time of the next event.
    async fn next(&self) -> Envelope;
}

/// The contract of [`EventBus`]. `make` gives an empty bus each time. Runs in a Tokio runtime with its timer on.
pub async fn event_bus<C: Consumer>(make: impl AsyncFn() -> C) {
    every_event_comes_as_it_was_published(make().await).await;
    a_timed_event_is_never_early(make().await).await;
    what_many_publish_at_once_comes(make().await).await;
}

async fn every_event_comes_as_it_was_published(consumer: impl Consumer) {
    let key = step_key(BUS_EXECUTION, 2, "build");
    let report = |attempt, outcome| {
        let report = AttemptReport { key: key.clone(), attempt, token: Token::new([7; 16]), outcome };
        Event::StepFinished(Box::new(report))
    };
    let failure = StepFailure::new(FailureClass::Exit(1), "two\nlines").with_code("RT-0300");
    let events = [
        Event::ExecutionChanged,
        step_ready(StepPath::step(StepId::new("build"))),
        step_ready(StepPath::child(StepId::new("build"), 3)),
        report(1, AttemptOutcome::Succeeded(StepResult { exit_code: Some(0), ..StepResult::default() })),
        report(2, AttemptOutcome::Failed { failure, usage: Usage { cost_usd: Some(0.25), ..Usage::default() } }),
        report(3, AttemptOutcome::Stopped),
        Event::TaskLost { key: key.clone(), attempt: 1 },
        Event::RetryDue { key: key.clone(), attempt: 1 },
        Event::WakeUpDue,
    ];
    let envelopes = events.map(|event| envelope(BUS_EXECUTION, event));
    let (alone, together) = envelopes.split_at(3);
    for envelope in alone {
        consumer.bus().publish(envelope.clone()).await.expect("the bus is there");
    }
    consumer.bus().publish_all(together.to_vec()).await.expect("the bus is there");
    let mut missing: Vec<&Envelope> = envelopes.iter().collect();
    while !missing.is_empty() {
        let came = next(&consumer).await;
        assert!(envelopes.contains(&came), "this was never published: {came:?}");
        missing.retain(|envelope| **envelope != came);
    }
}

async fn a_timed_event_is_never_early(consumer: impl Consumer) {
    let from = consumer.now();
    let due = |milliseconds| from.saturating_add(SignedDuration::from_millis(milliseconds)).expect("a time to come");
    // What tells the events apart is the attempt.
    for (attempt, milliseconds) in [(60, 60), (1, -1000), (30, 30), (0, 0)] {
        let event = Event::RetryDue { key: step_key(BUS_EXECUTION, 1, "a"), attempt };
        consumer.bus().publish_at(envelope(BUS_EXECUTION, event), due(milliseconds)).await.expect("the bus is there");
    }
    consumer.bus().publish(envelope(BUS_EXECUTION, Event::WakeUpDue)).await.expect("the bus is there");
    let mut missing = BTreeSet::from([0, 1, 30, 60]);
    while !missing.is_empty() {
        let came = next(&consumer).await;
        if let Event::RetryDue { attempt, .. } = came.event {
            let early = matches!(attempt, 30 | 60) && consumer.now() < due(attempt.into());
            assert!(!early, "an event for {} came at {}", due(attempt.into()), consumer.now());
            missing.remove(&attempt);
        }
    }
}

async fn what_many_publish_at_once_comes(consumer: impl Consumer) {
    let mut publishers = JoinSet::new();
    for publisher in 0..8_u32 {
        let bus = consumer.bus();
        publishers.spawn(async move {
            for item in 0..25 {
                let path = StepPath::child(StepId::new(format!("s{publisher}")), item);
                bus.publish(envelope(BUS_EXECUTION, step_ready(path))).await.expect("the bus is there");
            }
        });
    }
    publishers.join_all().await;
    let mut seen = BTreeSet::new();
    while seen.len() < 200 {
        if let Event::StepReady { path, .. } = next(&consumer).await.event {
            seen.insert(path);
        }
    }
}

async fn next(consumer: &impl Consumer) -> Envelope {
    timeout(Duration::from_secs(20), consumer.next()).await.expect("an event that was published comes some time")
}
