//! The ports' contracts on an emulator of AWS, which `RATCHET_TEST_AWS_ENDPOINT` names. Without one these tests say that they were left out.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::{Client, config::Credentials};
use ratchet_engine::ports::StateStore;
use ratchet_testkit::contract;

use crate::{DynamoStateStore, Table};

/// A client of the emulator; `None`, and a word on it, where there is none.
async fn client() -> Option<Client> {
    let Ok(endpoint) = env::var("RATCHET_TEST_AWS_ENDPOINT") else {
        #[expect(clippy::print_stderr, reason = "a test that was left out says so")]
        {
            eprintln!("left out: RATCHET_TEST_AWS_ENDPOINT names no emulator of AWS");
        }
        return None;
    };
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
        .load()
        .await;
    Some(Client::new(&config))
}

#[tokio::test(flavor = "multi_thread")]
async fn state_in_dynamodb_keeps_the_contract() {
    let Some(client) = client().await else { return };
    let tables = AtomicU32::new(0);
    contract::state_store(async || {
        let name = format!("state-{}-{}", std::process::id(), tables.fetch_add(1, Ordering::Relaxed));
        Table::create(&client, &name).await.unwrap();
        Arc::new(DynamoStateStore::new(client.clone(), name)) as Arc<dyn StateStore>
    })
    .await;
}
