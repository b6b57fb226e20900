//! Removing runs and what no run needs any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use ratchet_core::ids::ExecutionId;
use ratchet_engine::ports::StoreError;
use ratchet_workspace::Tree;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::{
    directory::StateDirectory,
    engine::DriveError,
    error::LocalError,
    lock::{Acquired, EngineLock},
    state_store::LocalStateStore,
    supervise,
    workspace::{self, remove_tree},
};

/// Bytes of content that are looked at together.
const CHUNK: usize = 64 << 10;

/// The digits of a digest.
const DIGITS: usize = 64;

/// Content that is younger than this may belong to a run that has not written its row yet.
const YOUNG: Duration = Duration::from_hours(24);

/// What a sweep found that no run needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Folders of runs that have no row: they were never started, or a removal was cut short.
    pub folders: usize,
    /// Files of content, and read-only copies of captured files.
    pub contents: usize,
    /// Bytes that this gave back.
    pub bytes: u64,
}

/// What the state directory takes on the disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DiskUse {
    /// The database with its log.
    pub database: u64,
    /// Content by digest, and captured files.
    pub contents: u64,
    /// The folders of runs: what their steps changed, logs, homes.
    pub executions: u64,
    /// Users' directories as runs began with them.
    pub kept: u64,
}

/// Removes a run with all that it has: its files first, so that what a crash leaves is found again by its row. `false` where there is none.
///
/// A run that a process drives is [`LocalError::Driven`]. A run that was being applied is applied, or taken back, before it goes.
pub async fn remove(state: &StateDirectory, store: &LocalStateStore, id: &ExecutionId) -> Result<bool, DriveError> {
    let (directory, name) = (state.clone(), id.clone());
    let had_folder = in_background(move || remove_folder(&directory, &name)).await?;
    let had_rows = store.delete_execution(id).await?;
    Ok(had_folder || had_rows)
}

fn remove_folder(state: &StateDirectory, id: &ExecutionId) -> Result<bool, LocalError> {
    let folder = state.execution(id);
    // A name that is more than a name would lead out of the folder of runs.
    let is_name = Path::new(id.as_str()).components().eq([Component::Normal(OsStr::new(id.as_str()))]);
    if !is_name || folder.symlink_metadata().is_err() {
        return Ok(false);
    }
    let Acquired { lock, .. } = EngineLock::acquire(state, id, &supervise::table(), &supervise::owner())?;
    workspace::recover(state, id)?;
    remove_tree(&folder).map_err(|source| LocalError::state_directory(&folder, "be removed", source))?;
    drop(lock);
    // Noted where the kernel would not end the run's processes; nobody holds the run now, and its lock was ours.
    let _ = fs::remove_file(state.unsupervised().join(id.as_str()));
    Ok(true)
}

/// Removes what no run needs: folders without a row, and content that no row names. Runs may be under way meanwhile.
pub async fn sweep(state: &StateDirectory, store: &LocalStateStore, now: SystemTime) -> Result<Swept, DriveError> {
    let rows = Rows::read(store)?;
    let state = state.clone();
    Ok(in_background(move || {
        let mut swept = Swept::default();
        sweep_folders(&state, &rows.executions, now, &mut swept)?;
        sweep_kept(&state, now, &mut swept)?;
        sweep_contents(&state, rows.digests, now, &mut swept)?;
        Ok(swept)
    })
    .await?)
}

/// What the state directory takes on the disk.
pub async fn disk_use(state: &StateDirectory, store: &LocalStateStore) -> Result<DiskUse, DriveError> {
    let database = store.size().await?.total;
    let state = state.clone();
    let contents = in_background(move || {
        let contents = size_of(&state.blobs())? + size_of(&state.root().join("captured"))?;
        Ok((contents, size_of(&state.executions())?, size_of(&state.kept())?))
    });
    let (contents, executions, kept) = contents.await?;
    Ok(DiskUse { database, contents, executions, kept })
}

/// What the rows name, as they stood at one moment.
#[derive(Default)]
struct Rows {
    executions: BTreeSet<ExecutionId>,
    digests: BTreeSet<String>,
}

impl Rows {
    /// Every digest in every row, whatever it stands for: what is named is kept.
    fn read(store: &LocalStateStore) -> Result<Self, StoreError> {
        let mut rows = Self::default();
        store.for_each_text(|text| {
            // Bytes in memory can always be read.
            let _ = digests_in(text.as_bytes(), |digest| {
                rows.digests.insert(digest);
            });
        })?;
        // Afterwards: a run that was made meanwhile keeps its folder.
        rows.executions = store.execution_ids()?.into_iter().collect();
        Ok(rows)
    }
}

/// Gives each text that looks like a digest. However much there is to read, little of it is held.
fn digests_in(mut bytes: impl Read, mut give: impl FnMut(String)) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    // The digits that the last bytes are: one more than a digest has are as good as any more.
    let mut run: Vec<u8> = Vec::with_capacity(DIGITS + 1);
    loop {
        let count = match bytes.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let mut end = |run: &mut Vec<u8>| {
            if run.len() == DIGITS {
                give(String::from_utf8_lossy(run).into_owned());
            }
            run.clear();
        };
        for byte in &chunk[..count] {
            match byte {
                b'0'..=b'9' | b'a'..=b'f' if run.len() <= DIGITS => run.push(*byte),
                b'0'..=b'9' | b'a'..=b'f' => {}
                _ => end(&mut run),
            }
        }
        if count == 0 {
            end(&mut run);
            return Ok(());
        }
    }
}

/// Gives each content that another names: a tree as it says, and anything else in whatever looks like a digest.
fn names_in(path: &Path, mut give: impl FnMut(String)) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut head = Vec::with_capacity(TREE_HEAD);
    Read::by_ref(&mut file).take(TREE_HEAD as u64).read_to_end(&mut head)?;
    if !Tree::is_in(&head) {
        return digests_in(head.chain(file), give);
    }
    file.read_to_end(&mut head)?;
    // One that is damaged names nothing that could be found by it.
    if let Ok(tree) = Tree::from_bytes(&head) {
        tree.needs().for_each(|digest| give(digest.to_string()));
    }
    Ok(())
}

/// The bytes that a tree is told by.
const TREE_HEAD: usize = 8;

/// Removes what is kept of directories that no run needs and that the next run on them does not begin with, and directories that no run was on for long.
fn sweep_kept(state: &StateDirectory, now: SystemTime, swept: &mut Swept) -> Result<(), LocalError> {
    let refused = |path: &Path, source| LocalError::state_directory(path, "be swept", source);
    let mut used = BTreeSet::new();
    for id in state.execution_ids().map_err(|error| refused(&state.executions(), error))? {
        // A run that cannot go on needs nothing.
        used.extend(workspace::Source::load(state, &id).ok().flatten().into_iter().flat_map(|source| source.trees));
    }
    for folder in entries(&state.kept()).map_err(|error| refused(&state.kept(), error))? {
        let before = size_of(&folder)?;
        if used.iter().any(|tree| tree.starts_with(&folder)) || !is_old(&folder.join("state"), now) {
            workspace::keeper_in(&folder).remove_unused(&used)?;
        } else {
            remove_tree(&folder).map_err(|error| refused(&folder, error))?;
        }
        swept.bytes += before.saturating_sub(size_of(&folder)?);
    }
    Ok(())
}

fn sweep_folders(
    state: &StateDirectory,
    known: &BTreeSet<ExecutionId>,
    now: SystemTime,
    swept: &mut Swept,
) -> Result<(), LocalError> {
    let unreadable = |source| LocalError::state_directory(&state.executions(), "be read", source);
    for id in state.execution_ids().map_err(unreadable)? {
        let folder = state.execution(&id);
        if known.contains(&id) || !is_old(&folder, now) || EngineLock::is_held(state, &id) {
            continue;
        }
        let size = size_of(&folder)?;
        if remove_folder(state, &id)? {
            swept.folders += 1;
            swept.bytes += size;
        }
    }
    Ok(())
}

/// Removes content that is named by no row and by no content that a row names.
fn sweep_contents(
    state: &StateDirectory,
    mut open: BTreeSet<String>,
    now: SystemTime,
    swept: &mut Swept,
) -> Result<(), LocalError> {
    let refused = |path: &Path, source| LocalError::state_directory(path, "be swept", source);
    let mut unnamed = contents(state).map_err(|error| refused(&state.blobs(), error))?;
    let mut named = BTreeSet::new();
    // A list of a fan-out is an index that names its chunks, and a stored output may name files.
    while let Some(digest) = open.pop_first() {
        if let Some(path) = unnamed.remove(&digest) {
            let read = names_in(&path, |digest| {
                open.insert(digest);
            });
            match read {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(&path, error)),
                _ => {}
            }
        }
        named.insert(digest);
    }
    let captured = entries(&state.root().join("captured")).map_err(|error| refused(state.root(), error))?;
    let captured = captured
        .into_iter()
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| !named.contains(name)));
    // Whoever puts content that is there already relies on it from then on: none is put between the look at its age and its end.
    let _lock = lock_contents(state).map_err(|error| refused(&state.blobs(), error))?;
    for path in unnamed.into_values().chain(captured) {
        if !is_old(&path, now) {
            continue;
        }
        let size = size_of(&path)?;
        remove_tree_or_file(&path).map_err(|error| refused(&path, error))?;
        swept.contents += 1;
        swept.bytes += size;
    }
    Ok(())
}

/// Keeps content from being put, where any ever was.
fn lock_contents(state: &StateDirectory) -> io::Result<Option<File>> {
    match File::open(state.blobs().join("lock")) {
        Ok(file) => {
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every blob with its digest.
fn contents(state: &StateDirectory) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for folder in entries(&state.blobs().join("sha256"))? {
        for path in entries(&folder)? {
            let parts =
                [&folder, &path].map(|part| part.file_name().and_then(|name| name.to_str()).unwrap_or_default());
            found.insert(parts.concat(), path);
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove_tree_or_file(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return remove_tree(path);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_old(path: &Path, now: SystemTime) -> bool {
    let modified = path.symlink_metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > YOUNG))
}

/// The bytes of all files at and below a path; what disappears meanwhile does not count.
fn size_of(path: &Path) -> Result<u64, LocalError> {
    let refused = |source| LocalError::state_directory(path, "be measured", source);
    let (mut total, mut open) = (0, vec![path.to_owned()]);
    while let Some(path) = open.pop() {
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => open.extend(entries(&path).map_err(refused)?),
            Ok(metadata) => total += metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(total)
}

/// Does work that waits for the disk where it holds nobody up.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, LocalError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(LocalError::Handler(error.to_string())))
}

#[cfg(test)]
mod tests {
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
        let place = crate::place::LocalPlace { workspace: source, in_place: false, definitions: None };
        let mut row = execution_row("a");
        row.tree = files.begin(&row.id, &place).unwrap();
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
}
