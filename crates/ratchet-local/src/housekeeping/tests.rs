//! Runs with content, and what is left of them.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use ratchet_core::{
    artifact::{Artifact, ArtifactRead, Retention, Which},
    ids::Digest,
    output::{BlobRef, Output},
};
use ratchet_engine::{
    artifacts::collect,
    ports::{ArtifactStore, BlobStore, Expectation, StateStore, StepCache, Write},
};
use ratchet_testkit::builders::{artifact, artifact_name, execution_row, kept_result, time, use_of};
use tempfile::TempDir;

use super::*;
use crate::{blob_store::LocalBlobStore, killed, state_store::LocalStepCache};

struct World {
    _folder: TempDir,
    state: StateDirectory,
    store: Arc<LocalStateStore>,
    blobs: LocalBlobStore,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let store = Arc::new(LocalStateStore::open(&state.database()).unwrap());
        let blobs = LocalBlobStore::new(state.blobs());
        Self { _folder: folder, state, store, blobs }
    }

    /// A run with a row that names some content, and a folder in which a part is read only.
    async fn run(&self, id: &str, content: &[BlobRef]) -> ExecutionId {
        let mut row = execution_row(id);
        for (number, blob) in content.iter().enumerate() {
            row.outputs.insert(number.to_string(), Output::Stored(blob.clone()));
        }
        let write = Write::Execution { row: Box::new(row.clone()), expect: Expectation::Absent };
        assert!(self.store.commit(vec![write]).await.unwrap().conflict.is_none());
        let shut = self.state.views(&row.id).join("shut");
        fs::create_dir_all(&shut).unwrap();
        fs::write(shut.join("file"), "x").unwrap();
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o500)).unwrap();
        row.id
    }

    async fn has(&self, blob: &BlobRef) -> bool {
        self.blobs.contains(&blob.digest).await.unwrap()
    }
}

fn later() -> SystemTime {
    SystemTime::now() + YOUNG + Duration::from_mins(1)
}

#[tokio::test]
async fn a_run_is_removed_with_all_that_it_has_and_no_other() {
    let world = World::new();
    let (first, second) = (world.run("a", &[]).await, world.run("b", &[]).await);
    assert!(remove(&world.state, &world.store, &first).await.unwrap());
    assert!(world.store.execution(&first).await.unwrap().is_none() && !world.state.execution(&first).exists());
    assert!(world.store.execution(&second).await.unwrap().is_some() && world.state.execution(&second).exists());
    assert!(!remove(&world.state, &world.store, &first).await.unwrap());
}

#[tokio::test]
async fn a_run_that_is_driven_stays() {
    let world = World::new();
    let id = world.run("a", &[]).await;
    let acquired = EngineLock::acquire(&world.state, &id, &supervise::table(), &supervise::owner()).unwrap();
    let error = remove(&world.state, &world.store, &id).await.unwrap_err();
    assert!(matches!(error, DriveError::Local(LocalError::Driven { .. })), "{error}");
    assert!(world.store.execution(&id).await.unwrap().is_some() && world.state.views(&id).exists());
    drop(acquired);
    assert!(remove(&world.state, &world.store, &id).await.unwrap());
}

#[tokio::test]
async fn a_name_never_leads_out_of_the_folder_of_runs() {
    let world = World::new();
    let outside = world.state.root().join("precious");
    fs::create_dir(&outside).unwrap();
    for name in ["../precious", "..", ".", "", "/", "a/../../precious"] {
        remove(&world.state, &world.store, &ExecutionId::new(name)).await.unwrap();
        assert!(outside.exists() && world.state.executions().exists(), "{name:?}");
    }
}

#[tokio::test]
async fn a_sweep_takes_what_no_run_needs_and_is_old() {
    let world = World::new();
    let leaf = world.blobs.put(b"leaf").await.unwrap();
    let index = world.blobs.put(format!("[\"{}\"]", leaf.digest).as_bytes()).await.unwrap();
    let orphan = world.blobs.put(b"orphan").await.unwrap();
    let id = world.run("a", std::slice::from_ref(&index)).await;
    let half_made = world.state.execution(&ExecutionId::new("half")).join("workspace");
    fs::create_dir_all(&half_made).unwrap();
    for digest in [&leaf.digest, &orphan.digest] {
        let captured = world.state.captured(digest);
        fs::create_dir_all(&captured).unwrap();
        fs::write(captured.join("copy"), "1234").unwrap();
    }

    let young = sweep(&world.state, &world.store, SystemTime::now()).await.unwrap();
    assert_eq!(young, Swept::default(), "what is young may belong to a run that begins");
    let swept = sweep(&world.state, &world.store, later()).await.unwrap();
    assert_eq!(swept, Swept { folders: 1, contents: 2, bytes: 6 + 4 });
    assert!(world.has(&leaf).await && world.has(&index).await && !world.has(&orphan).await);
    assert!(world.state.captured(&leaf.digest).exists() && !world.state.captured(&orphan.digest).exists());
    assert!(!half_made.exists() && world.state.execution(&id).exists());

    remove(&world.state, &world.store, &id).await.unwrap();
    sweep(&world.state, &world.store, later()).await.unwrap();
    assert!(!world.has(&leaf).await && !world.has(&index).await);
}

#[tokio::test]
async fn what_a_version_names_outlives_its_run() {
    let world = World::new();
    let (kept, gone) = (world.blobs.put(b"kept").await.unwrap(), world.blobs.put(b"gone").await.unwrap());
    let id = world.run("a", &[kept.clone(), gone.clone()]).await;
    let artifact = artifact("report", "a", 1, None, "kept");
    assert_eq!(artifact.file.content, kept);
    world.store.commit(vec![Write::Artifact(Box::new(artifact.clone()))]).await.unwrap();
    remove(&world.state, &world.store, &id).await.unwrap();
    sweep(&world.state, &world.store, later()).await.unwrap();
    assert!(world.has(&kept).await && !world.has(&gone).await);
    let dropped = Write::DropArtifact { artifact: artifact.name, number: 1, uses: 0 };
    assert!(world.store.commit(vec![dropped]).await.unwrap().conflict.is_none());
    sweep(&world.state, &world.store, later()).await.unwrap();
    assert!(!world.has(&kept).await);
}

#[tokio::test]
async fn what_a_kept_result_names_outlives_its_run() {
    let world = World::new();
    let (kept, gone) = (world.blobs.put(b"kept").await.unwrap(), world.blobs.put(b"gone").await.unwrap());
    let id = world.run("a", &[kept.clone(), gone.clone()]).await;
    let entry = kept_result("key", "a", Output::Stored(kept.clone()));
    let cache = LocalStepCache::new(world.store.clone(), u64::MAX);
    cache.publish(entry.clone(), use_of(&entry), false).await.unwrap();
    remove(&world.state, &world.store, &id).await.unwrap();
    sweep(&world.state, &world.store, later()).await.unwrap();
    assert!(world.has(&kept).await && !world.has(&gone).await);
    assert!(cache.remove(&entry.name).await.unwrap());
    sweep(&world.state, &world.store, later()).await.unwrap();
    assert!(!world.has(&kept).await);
}

/// How many versions there are, of a class that keeps the newest alone.
const VERSIONS: u64 = 8;

/// A run that begins: it relies on a version, and on content that lies about. What it needs, where it could have it.
async fn begins(world: Arc<World>, round: u64, number: u64) -> Option<[BlobRef; 2]> {
    let chance = killed::scatter(round * 100 + number);
    let (name, which) = (artifact_name("report"), Which::Number(chance % VERSIONS + 1));
    for _ in 0..chance % 23 {
        world.store.artifacts_made_by(&ExecutionId::new("maker1")).await.unwrap();
    }
    let version = world.store.artifact(&name, &which).await.unwrap()?;
    let (execution, artifact) = (ExecutionId::new(format!("run{number}")), name);
    let read = ArtifactRead { execution, step: None, artifact, number: version.number };
    if world.store.commit(vec![Write::ReadArtifact(read)]).await.unwrap().conflict.is_some() {
        return None;
    }
    let known = world.blobs.put(format!("{round} lies about").as_bytes()).await.unwrap();
    world.run(&format!("run{number}"), std::slice::from_ref(&known)).await;
    Some([version.artifact.file.content, known])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_never_takes_what_a_live_run_needs() {
    let (mut dropped, mut begun) = (0, 0);
    for round in 0..24 {
        let world = Arc::new(World::new());
        for number in 0..VERSIONS {
            let content = format!("{round} {number}");
            world.blobs.put(content.as_bytes()).await.unwrap();
            let made = artifact("report", &format!("maker{number}"), 1, None, &content);
            let made = Artifact { retention: Retention::Brief, ..made };
            world.store.commit(vec![Write::Artifact(Box::new(made))]).await.unwrap();
        }
        world.blobs.put(format!("{round} lies about").as_bytes()).await.unwrap();
        let old = SystemTime::now() - 2 * YOUNG;
        for path in contents(&world.state).unwrap().into_values() {
            File::open(path).unwrap().set_modified(old).unwrap();
        }
        let collection = async {
            let mut gone = 0;
            for _ in 0..2 {
                gone += collect(&*world.store, time(30 * 86_400), false).await.unwrap().dropped.len();
                sweep(&world.state, &world.store, SystemTime::now()).await.unwrap();
            }
            gone
        };
        let runs: Vec<_> = (1..4).map(|number| tokio::spawn(begins(Arc::clone(&world), round, number))).collect();
        dropped += collection.await;
        for run in runs {
            let Some(needed) = run.await.unwrap() else { continue };
            begun += 1;
            for blob in needed {
                assert!(world.has(&blob).await, "round {round}: {} is gone", blob.digest);
            }
        }
        let newest = world.store.artifact(&artifact_name("report"), &Which::Latest).await.unwrap();
        assert_eq!(newest.map(|version| version.number), Some(VERSIONS), "the newest stays");
    }
    assert!(dropped > 0 && begun > 0, "{dropped} versions were dropped while {begun} runs began");
}

#[tokio::test]
async fn the_trees_of_a_run_live_as_long_as_it_does() {
    let world = World::new();
    let project = tempfile::tempdir().unwrap();
    let source = project.path().to_owned();
    fs::write(source.join("a"), "one").unwrap();
    let files = workspace::Files::new(world.state.clone(), world.blobs.clone());
    let place = crate::place::LocalPlace { workspace: source, in_place: false, definitions: None, checkout: None };
    let mut row = execution_row("a");
    row.tree = files.begin(&row.id, &place, &[]).unwrap();
    let step = |base: &Digest, content: &str| {
        let view = files.open(&row.id, base).unwrap();
        fs::write(view.files().root().join("a"), content).unwrap();
        files.close(view, BTreeSet::new(), ratchet_workspace::Bounds::NONE).unwrap()
    };
    let first = step(row.tree.as_ref().unwrap(), "two");
    let second = step(&first, "three");
    row.left = Some(second.clone());
    let write = Write::Execution { row: Box::new(row.clone()), expect: Expectation::Absent };
    assert!(world.store.commit(vec![write]).await.unwrap().conflict.is_none());
    files.release(&row.id);
    sweep(&world.state, &world.store, later()).await.unwrap();
    let later_files = workspace::Files::new(world.state.clone(), world.blobs.clone());
    // What a tree came of is needed as much as it is itself.
    for (tree, content) in [(row.tree.as_ref().unwrap(), "one"), (&first, "two"), (&second, "three")] {
        let view = later_files.open(&row.id, tree).unwrap();
        assert_eq!(fs::read_to_string(view.files().root().join("a")).unwrap(), content);
        view.give_up();
    }
    later_files.release(&row.id);
    remove(&world.state, &world.store, &row.id).await.unwrap();
    sweep(&world.state, &world.store, later()).await.unwrap();
    let left = |folder: &Path| ratchet_workspace::paths(folder, &|_| false).unwrap();
    let files_left = left(&world.state.blobs().join("sha256"));
    assert!(!files_left.iter().any(|(_, kind)| *kind == ratchet_workspace::Kind::File), "{files_left:?}");
    assert_eq!(left(&world.state.kept()), []);
}

#[tokio::test]
async fn the_use_of_the_disk_is_told_by_part() {
    let world = World::new();
    world.blobs.put(b"12345").await.unwrap();
    world.run("a", &[]).await;
    let taken = disk_use(&world.state, &world.store).await.unwrap();
    assert!(taken.database > 0 && taken.contents >= 5 && taken.executions == 1, "{taken:?}");
}

/// Gives its bytes by a few.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn only_whole_digests_are_digests_wherever_they_are_cut() {
    let digest = Digest::new("ab".repeat(32));
    let text = format!("\"{digest}\" {digest}0 {} x{digest}", "AB".repeat(32));
    for size in 1..text.len() {
        let mut found = Vec::new();
        digests_in(Slow(text.as_bytes(), size), |digest| found.push(digest)).unwrap();
        assert_eq!(found, [digest.as_str(), digest.as_str()], "by {size}");
    }
}
