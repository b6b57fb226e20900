//! Removing runs and what no run needs any more.

#[cfg(test)]
mod tests;

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
            let keeper = workspace::keeper_in(&folder);
            keeper.fold()?;
            keeper.remove_unused(&used)?;
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
