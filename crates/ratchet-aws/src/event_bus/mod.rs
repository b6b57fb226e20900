//! Events between the functions: an `EventBridge` bus, and an SQS queue for those that are for later.

mod carried;
mod put;
#[cfg(test)]
mod requests;
mod timer;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use jiff::Timestamp;
use ratchet_engine::ports::{BlobStore, BusError, Clock, Envelope, EventBus};

pub use self::{
    carried::{CarriedError, open},
    timer::{TIMER_SECONDS_MAX, Timed},
};

/// The source that the engine's events name. Rules tell them by it, and by their detail type: the word for the event.
pub const SOURCE: &str = "ratchet";

/// The bus of a deployment.
#[derive(Clone)]
pub struct EventBridgeBus {
    events: Client,
    queues: aws_sdk_sqs::Client,
    place: BusPlace,
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
}

/// Where a deployment's events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPlace {
    /// The name of the bus.
    pub bus: String,
    /// The URL of the queue of events that are for later.
    pub timers: String,
}

impl EventBridgeBus {
    /// A bus at a place. What is too large for an event goes by reference to a blob.
    pub fn new(
        events: Client,
        queues: aws_sdk_sqs::Client,
        place: BusPlace,
        blobs: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { events, queues, place, blobs, clock }
    }
}

#[async_trait]
impl EventBus for EventBridgeBus {
    async fn publish(&self, envelope: Envelope) -> Result<(), BusError> {
        self.publish_all(vec![envelope]).await
    }

    async fn publish_all(&self, envelopes: Vec<Envelope>) -> Result<(), BusError> {
        let mut entries = Vec::with_capacity(envelopes.len());
        for envelope in &envelopes {
            entries.push(put::Entry {
                detail_type: envelope.event.name(),
                detail: carried::close(envelope, self.blobs.as_ref()).await?,
            });
        }
        self.put(entries).await
    }

    /// What is for a time that no message can wait for is not published: the wake-up of its execution comes first.
    async fn publish_at(&self, envelope: Envelope, at: Timestamp) -> Result<(), BusError> {
        match timer::delay(self.clock.now(), at) {
            Some(0) => self.publish(envelope).await,
            Some(seconds) => self.send_later(&envelope, at, seconds).await,
            None => Ok(()),
        }
    }
}
