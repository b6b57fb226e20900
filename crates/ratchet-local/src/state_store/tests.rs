mod crash;
mod differential;
mod failures;
mod sharing;
mod watching;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use ratchet_engine::ports::StateStore;
use ratchet_testkit::contract;
use tempfile::TempDir;

use super::LocalStateStore;

/// Files for fresh stores, gone with this value.
struct Files {
    folder: TempDir,
    made: AtomicU32,
}

impl Files {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), made: AtomicU32::new(0) }
    }

    fn next(&self) -> PathBuf {
        self.folder.path().join(format!("{}/state.db", self.made.fetch_add(1, Ordering::Relaxed)))
    }
}

/// An empty store in a folder that must be held while it is used.
fn fresh() -> (TempDir, LocalStateStore) {
    let folder = TempDir::new().unwrap();
    let store = LocalStateStore::open(&folder.path().join("state.db")).unwrap();
    (folder, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let files = Files::new();
    contract::state_store(async || Arc::new(LocalStateStore::open(&files.next()).unwrap()) as Arc<dyn StateStore>)
        .await;
}
