//! The contract suites of the ports that need more than one of this crate's parts.

use std::{num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use ratchet_core::ids::ExecutionId;
use ratchet_engine::ports::{Clock, Envelope, EventBus, Workspaces};
use ratchet_testkit::{builders::execution_row, contract};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    blob_store::LocalBlobStore,
    bus::{LocalBus, Subscription},
    clock::SystemClock,
    directory::StateDirectory,
    launcher::LocalLauncher,
    place::LocalPlace,
    processes::ProcessTable,
    workspace::{Files, LocalWorkspaces},
};

struct Consumer {
    bus: LocalBus,
    subscription: Subscription,
}

#[async_trait]
impl contract::Consumer for Consumer {
    fn bus(&self) -> Arc<dyn EventBus> {
        Arc::new(self.bus.clone())
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn next(&self) -> Envelope {
        self.subscription.next().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_keeps_its_contract() {
    contract::event_bus(async || {
        let bus = LocalBus::new(Arc::new(SystemClock));
        let subscription = bus.subscribe(&ExecutionId::new(contract::BUS_EXECUTION));
        Consumer { bus, subscription }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_launcher_keeps_its_contract() {
    let folder = TempDir::new().unwrap();
    contract::task_launcher(async |runner, bus| {
        let state = StateDirectory::open(&tempfile::tempdir_in(folder.path()).unwrap().keep()).unwrap();
        let launcher = LocalLauncher::new(runner, bus, files(&state), ProcessTable::default(), NonZeroUsize::new(2));
        launcher.adopt(&ExecutionId::new(contract::LAUNCHER_EXECUTION));
        contract::Launching {
            launcher,
            place: json!({"workspace": folder.path(), "in_place": true}),
            counts_room: true,
        }
    })
    .await;
}

fn files(state: &StateDirectory) -> Files {
    Files::new(state.clone(), LocalBlobStore::new(state.blobs()))
}

#[tokio::test]
async fn the_workspaces_keep_their_contract() {
    let folder = TempDir::new().unwrap();
    let make = |in_place: bool| {
        let root = tempfile::tempdir_in(folder.path()).unwrap().keep();
        let state = StateDirectory::open(&root.join("state")).unwrap();
        let workspace = root.join("workspace");
        std::fs::create_dir(&workspace).unwrap();
        let mut run = execution_row("run");
        run.options.place = json!({"workspace": workspace, "in_place": in_place});
        let files = files(&state);
        run.tree = files.begin(&run.id, &LocalPlace::of(&run).unwrap(), &[]).unwrap();
        (Arc::new(LocalWorkspaces::new(files)) as Arc<dyn Workspaces>, run)
    };
    contract::directories(async || make(true)).await;
    contract::workspaces(async || make(false)).await;
}
