//! The ports' contracts, on an emulator of AWS.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::Message;
use jiff::Timestamp;
use ratchet_core::execution::ExecutionRow;
use ratchet_engine::ports::{BlobStore, Clock, Envelope, EventBus, StateStore, Workspaces};
use ratchet_testkit::{builders::execution_row, contract, memory::MemoryBlobStore};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    BlobContents, DynamoStateStore, S3BlobStore, SystemClock, Table,
    emulator::Emulator,
    event_bus::{BusPlace, EventBridgeBus, Timed, open},
    workspaces::{BlobWorkspaces, FOLDER},
};

#[tokio::test(flavor = "multi_thread")]
async fn state_in_dynamodb_keeps_the_contract() {
    let Some(emulator) = Emulator::start().await else { return };
    let client = Client::new(&emulator.config().await);
    let tables = AtomicU32::new(0);
    contract::state_store(async || {
        let name = format!("state-{}", tables.fetch_add(1, Ordering::Relaxed));
        Table::create(&client, &name).await.unwrap();
        Arc::new(DynamoStateStore::new(client.clone(), name)) as Arc<dyn StateStore>
    })
    .await;
}

#[tokio::test]
async fn workspaces_of_blobs_keep_the_contract() {
    let blobs = Arc::new(MemoryBlobStore::default());
    contract::workspaces(async || workspaces(blobs.clone(), blobs.clone()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_in_a_bucket_keep_the_contract() {
    let Some(emulator) = Emulator::start().await else { return };
    let client = aws_sdk_s3::Client::new(&emulator.config().await);
    client.create_bucket().bucket("bucket").send().await.unwrap();
    let store = async || {
        let client = aws_sdk_s3::Client::new(&emulator.config().await);
        Arc::new(S3BlobStore::new(client, "bucket", ""))
    };
    contract::workspaces(async || workspaces(store().await, store().await).await).await;
}

/// Workspaces in a store, whose contents have connections of their own, and a run that begins without a file.
async fn workspaces(blobs: Arc<dyn BlobStore>, of_contents: Arc<dyn BlobStore>) -> (Arc<dyn Workspaces>, ExecutionRow) {
    let contents = Arc::new(BlobContents::new(of_contents).unwrap());
    let workspaces = BlobWorkspaces::new(contents, blobs, Path::new(FOLDER));
    let run = ExecutionRow { tree: Some(workspaces.empty().await.unwrap()), ..execution_row("run") };
    (Arc::new(workspaces), run)
}

#[test]
fn the_clock_keeps_the_contract() {
    contract::clock(|| SystemClock);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_keep_the_contract() {
    let Some(emulator) = Emulator::start().await else { return };
    let config = emulator.config().await;
    let buses = AtomicU32::new(0);
    contract::event_bus(async || Listener::new(&config, buses.fetch_add(1, Ordering::Relaxed)).await).await;
}

/// A bus, and queues of what comes over it.
struct Listener {
    bus: EventBridgeBus,
    blobs: Arc<dyn BlobStore>,
    queues: aws_sdk_sqs::Client,
    /// The URLs of the queue of events and of that of those for later.
    urls: [String; 2],
    received: Mutex<Vec<Envelope>>,
}

impl Listener {
    async fn new(config: &aws_config::SdkConfig, number: u32) -> Self {
        let events = aws_sdk_eventbridge::Client::new(config);
        let queues = aws_sdk_sqs::Client::new(config);
        let (bus, rule) = (format!("bus-{number}"), format!("rule-{number}"));
        events.create_event_bus().name(&bus).send().await.unwrap();
        let mut urls = Vec::new();
        for name in [format!("events-{number}"), format!("timers-{number}")] {
            let made = queues.create_queue().queue_name(name).send().await.unwrap();
            urls.push(made.queue_url().unwrap().to_owned());
        }
        let urls: [String; 2] = urls.try_into().unwrap();
        let pattern = r#"{"source": ["ratchet"]}"#;
        events.put_rule().name(&rule).event_bus_name(&bus).event_pattern(pattern).send().await.unwrap();
        let arn = format!("arn:aws:sqs:us-east-1:000000000000:events-{number}");
        let target = Target::builder().id("queue").arn(arn).build().unwrap();
        events.put_targets().rule(&rule).event_bus_name(&bus).targets(target).send().await.unwrap();
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
        let place = BusPlace { bus, timers: urls[1].clone() };
        let bus = EventBridgeBus::new(events, queues.clone(), place, blobs.clone(), Arc::new(SystemClock));
        Self { bus, blobs, queues, urls, received: Mutex::default() }
    }

    async fn receive(&self, url: &str) -> Vec<Message> {
        let received = self.queues.receive_message().queue_url(url).max_number_of_messages(10).send().await.unwrap();
        let messages = received.messages.unwrap_or_default();
        for message in &messages {
            self.queues
                .delete_message()
                .queue_url(url)
                .receipt_handle(message.receipt_handle().unwrap())
                .send()
                .await
                .unwrap();
        }
        messages
    }
}

#[async_trait]
impl contract::Consumer for Listener {
    fn bus(&self) -> Arc<dyn EventBus> {
        Arc::new(self.bus.clone())
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn next(&self) -> Envelope {
        let mut received = self.received.lock().await;
        while received.is_empty() {
            for message in self.receive(&self.urls[0]).await {
                let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
                let envelope = open(event["detail"].clone(), &*self.blobs).await.unwrap();
                assert_eq!(event["detail-type"], envelope.event.name());
                received.push(envelope);
            }
            for message in self.receive(&self.urls[1]).await {
                let timed: Timed = serde_json::from_str(message.body().unwrap()).unwrap();
                received.push(open(timed.detail, &*self.blobs).await.unwrap());
            }
        }
        received.pop().unwrap()
    }
}
