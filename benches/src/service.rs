//! Many runs in one process of the engine, as a service that hears webhooks would have them: the engine of the command, without the command around it.

use std::{collections::BTreeMap, env, fs, num::NonZeroUsize, path::Path, sync::Arc, thread::available_parallelism};

use ratchet_core::{
    execution::{DefinitionRef, RunOptions, TraceParent},
    history::{Actor, sha256_hex},
    ids::{Digest, ExecutionId},
    status::ExecutionStatus,
};
use ratchet_definition::files::FileAccess;
use ratchet_engine::{
    StartRequest,
    ports::{AttemptFiles, BlobStore, Silent},
};
use ratchet_local::{
    blob_store::LocalBlobStore,
    directory::StateDirectory,
    engine::{CACHE_BYTES_MAX, LocalConfig, LocalEngine},
    secrets::LocalSecrets,
    supervise,
    workspace::ConfinedFiles,
};
use ratchet_runner::{Runner, agent::ClaudeCode};
use serde_json::{Value, json};
use tokio::{runtime::Builder, task::JoinSet};

use crate::{Outcome, PARALLEL};

/// Starts so many runs of the workflow in the current folder and drives all of them to their end.
pub(crate) fn run(file: &str, runs: &str) -> Outcome<()> {
    let (source, runs): (String, u32) = (fs::read_to_string(file)?, runs.parse()?);
    let folder = env::current_dir()?;
    let state = folder.join("state");
    supervise::enter(&state)?;
    let threads = available_parallelism().map_or(1, NonZeroUsize::get) + 1;
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let engine = Arc::new(open(&state)?);
        let mut driven = JoinSet::new();
        for _ in 0..runs {
            let (engine, request) = (Arc::clone(&engine), request(&source, &folder));
            driven.spawn(async move {
                let id = request.execution.clone();
                engine.start(request).await?;
                engine.drive(&id).await.map(|row| row.status)
            });
        }
        for status in driven.join_all().await {
            if status? != ExecutionStatus::Completed {
                return Err("a run did not complete".into());
            }
        }
        Ok(())
    })
}

fn open(state: &Path) -> Outcome<LocalEngine> {
    let directory = StateDirectory::open(state)?;
    let blobs: Arc<dyn BlobStore> = Arc::new(LocalBlobStore::new(directory.blobs()));
    let agent = Arc::new(ClaudeCode::of_this_process());
    let files = Arc::new(move |files: &AttemptFiles| -> Arc<dyn FileAccess> {
        Arc::new(ConfinedFiles::of(files, directory.clone()))
    });
    let runner = Arc::new(Runner::new(blobs, agent, Arc::new(Silent), files));
    let max_parallel = usize::try_from(PARALLEL).ok().and_then(NonZeroUsize::new);
    Ok(LocalEngine::open(LocalConfig {
        cache_bytes_max: CACHE_BYTES_MAX,
        secrets: Arc::new(LocalSecrets::default()),
        state_dir: state.to_owned(),
        runner,
        observer: Arc::new(Silent),
        max_parallel,
    })?)
}

fn request(source: &str, folder: &Path) -> StartRequest {
    StartRequest {
        parent: None,
        tree: None,
        execution: ExecutionId::new(uuid::Uuid::now_v7().to_string()),
        definition: DefinitionRef {
            name: "many".to_owned(),
            version: "1".to_owned(),
            digest: Digest::new(sha256_hex(source.as_bytes())),
            origin: "workflow.yaml".to_owned(),
        },
        source: source.to_owned(),
        inputs: BTreeMap::new(),
        environment: BTreeMap::new(),
        trigger: Value::Null,
        options: RunOptions {
            max_parallel: PARALLEL,
            place: json!({"workspace": folder, "in_place": true}),
            ..RunOptions::default()
        },
        actor: Actor::Engine,
        trace: TraceParent(format!("00-{}-b7ad6b7169203331-01", uuid::Uuid::new_v4().simple())),
    }
}
