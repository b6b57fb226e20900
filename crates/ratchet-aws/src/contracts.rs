//! The ports' contracts, on an emulator of AWS.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use aws_sdk_dynamodb::Client;
use ratchet_engine::ports::StateStore;
use ratchet_testkit::contract;

use crate::{DynamoStateStore, Table, emulator::Emulator};

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
