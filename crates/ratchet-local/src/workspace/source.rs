//! The directory that a run began with, kept apart from it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use ratchet_core::{history::sha256_hex, ids::ExecutionId};
use ratchet_workspace::{ContentDigest, Exclude, Keeper, Kept, STAGE_PREFIX, Strategy, TreePath, Trees, write_whole};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    directory::{self, StateDirectory},
    error::LocalError,
    place::LocalPlace,
};

/// What a run must remember of the directory that it began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The directory, by a path without links.
    pub(crate) directory: PathBuf,
    /// How its steps see it.
    pub(crate) strategy: Strategy,
    /// The folders that hold what was there, the topmost first.
    pub(crate) trees: Vec<PathBuf>,
    /// What was there, as a tree.
    pub(crate) tree: ContentDigest,
    /// Globs of what is no part of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude: Vec<String>,
    /// The start of the machine in which it was written.
    boot: String,
}

impl Source {
    /// Takes the directory as it is now for a new run. Done already, it is what was taken then.
    pub(crate) fn take(
        state: &StateDirectory,
        trees: &Trees,
        strategy: Strategy,
        (id, place): (&ExecutionId, &LocalPlace),
        exclude: &[String],
    ) -> Result<Self, LocalError> {
        if let Some(taken) = Self::load(state, id)? {
            return Ok(taken);
        }
        let directory = usable(place)?;
        // A view at its own path would hide what lies there of the engine's own.
        let strategy = if state.root().starts_with(&directory) { Strategy::Copy } else { strategy };
        let (keeper, folder) = keeper(state, &directory, strategy);
        let outside = Outside::of(state, &directory, exclude)?;
        // Not while another run's changes are on their way into it.
        let lock = File::open(&directory).map_err(|error| unusable(&directory, error.to_string()))?;
        let _ = flock(&lock, FlockOperation::LockShared);
        let kept = keeper.keep(&directory, &|path| outside.contains(path))?;
        drop(lock);
        let tree = begin(trees, &kept, &folder)?;
        let source = Self { directory, strategy, trees: kept.trees, tree, exclude: exclude.to_vec(), boot: boot() };
        let text = serde_json::to_vec(&source).map_err(|error| unusable(&place.workspace, error.to_string()))?;
        let refused = |error| LocalError::state_directory(&state.source(id), "hold the files of a run", error);
        directory::create(&state.execution(id)).map_err(refused)?;
        fs::write(state.source(id), text).map_err(refused)?;
        sync_behind(state, id, keeper);
        Ok(source)
    }

    /// Looks at the directory as it is now. It is not kept apart: who reads it later may find it changed.
    pub(crate) fn look(
        state: &StateDirectory,
        trees: &Trees,
        (place, exclude): (&LocalPlace, &[String]),
        folder: &Path,
    ) -> Result<Self, LocalError> {
        let directory = usable(place)?;
        let known = [Strategy::Overlay, Strategy::Copy].map(|strategy| keeper(state, &directory, strategy));
        let [(told, told_at), (untold, _)] = known;
        let keeper = if told_at.exists() { told } else { untold };
        let outside = Outside::of(state, &directory, exclude)?;
        let kept = keeper.look(&directory, &|path| outside.contains(path), folder)?;
        let tree = trees.begin(&kept.manifest)?;
        Ok(Self {
            directory,
            strategy: Strategy::Copy,
            trees: kept.trees,
            tree,
            exclude: exclude.to_vec(),
            boot: boot(),
        })
    }

    /// What was taken for a run; `None` where nothing was. What a power loss may have caught half written is refused.
    pub(crate) fn load(state: &StateDirectory, id: &ExecutionId) -> Result<Option<Self>, LocalError> {
        let path = state.source(id);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LocalError::state_directory(&path, "be read", error)),
        };
        let damaged = |reason: String| LocalError::Damaged { path: path.clone(), reason };
        let source: Self = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if source.boot != boot() && !state.synced(id).exists() {
            return Err(damaged("the machine went down before the content of the directory was written".to_owned()));
        }
        Ok(Some(source))
    }

    /// The directory as it was kept.
    pub(crate) fn kept(&self, trees: &Trees) -> Result<Arc<Kept>, LocalError> {
        let manifest = trees.manifest(self.tree)?;
        let digest = manifest.digest();
        Ok(Arc::new(Kept { manifest, digest, trees: self.trees.clone(), files_copied: 0 }))
    }
}

/// Keeps the directory of a run apart as it is now.
pub(super) fn keep_now(state: &StateDirectory, source: &Source, place: &LocalPlace) -> Result<Kept, LocalError> {
    let directory = usable(place)?;
    let (keeper, _) = keeper(state, &directory, source.strategy);
    let outside = Outside::of(state, &directory, &source.exclude)?;
    let lock = File::open(&directory).map_err(|error| unusable(&directory, error.to_string()))?;
    let _ = flock(&lock, FlockOperation::LockShared);
    Ok(keeper.keep(&directory, &|path| outside.contains(path))?)
}

/// The directory of a run, by a path without links.
pub(crate) fn usable(place: &LocalPlace) -> Result<PathBuf, LocalError> {
    if !place.workspace.is_absolute() {
        return Err(unusable(&place.workspace, "its path is not absolute".to_owned()));
    }
    match place.workspace.canonicalize() {
        Ok(directory) if directory.is_dir() => Ok(directory),
        Ok(_) => Err(unusable(&place.workspace, "it is not a directory".to_owned())),
        Err(error) => Err(unusable(&place.workspace, error.to_string())),
    }
}

fn unusable(path: &Path, reason: String) -> LocalError {
    LocalError::NoWorkspace { path: path.to_owned(), reason }
}

/// What lies in a directory and is no part of any tree: what is the engine's own, and what the workflow leaves out.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    /// The state directory, where it lies there.
    state: Option<TreePath>,
    exclude: Option<Exclude>,
}

impl Outside {
    /// What of a directory is outside.
    pub(crate) fn of(state: &StateDirectory, directory: &Path, exclude: &[String]) -> Result<Self, LocalError> {
        let globs = (!exclude.is_empty()).then(|| Exclude::new(exclude)).transpose();
        let exclude = globs.map_err(|error| unusable(directory, error.to_string()))?;
        let state = state.root().strip_prefix(directory).ok().and_then(|inside| TreePath::new(inside).ok());
        Ok(Self { state, exclude })
    }

    /// Whether a path is, with all that lies in it.
    pub(crate) fn contains(&self, path: &TreePath) -> bool {
        self.state.as_ref() == Some(path) || path.as_bytes().starts_with(STAGE_PREFIX.as_bytes()) || self.excludes(path)
    }

    /// Whether a path that may not be there is outside, by itself or by a folder above it.
    pub(crate) fn hides(&self, path: &Path) -> bool {
        path.ancestors().filter_map(|path| TreePath::new(path).ok()).any(|path| self.contains(&path))
    }

    /// Whether the workflow leaves a path out.
    pub(crate) fn excludes(&self, path: &TreePath) -> bool {
        self.exclude.as_ref().is_some_and(|exclude| exclude.contains(path))
    }
}

/// What keeps the content of a directory, and where.
pub(crate) fn keeper(state: &StateDirectory, directory: &Path, strategy: Strategy) -> (Keeper, PathBuf) {
    use std::os::unix::ffi::OsStrExt;
    let name = sha256_hex(directory.as_os_str().as_bytes());
    let kind = if strategy == Strategy::Overlay { "told" } else { "untold" };
    let folder = state.kept().join(format!("{}-{kind}", &name[..32]));
    (Keeper::new(&folder, strategy.holes()), folder)
}

/// What keeps the content of the directory that a folder is of.
pub(crate) fn keeper_in(folder: &Path) -> Keeper {
    let is_told = folder.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-told"));
    Keeper::new(folder, if is_told { Strategy::Overlay } else { Strategy::Copy }.holes())
}

/// The tree of what was kept. Where the last run began with the same, it is there already.
fn begin(trees: &Trees, kept: &Kept, folder: &Path) -> Result<ContentDigest, LocalError> {
    let note = folder.join("begun");
    let known = fs::read_to_string(&note).unwrap_or_default();
    if let Some((_, tree)) = known.split_once(' ').filter(|(digest, _)| *digest == kept.digest.to_string())
        && let Some(tree) = ContentDigest::from_hex(tree)
        && trees.begin_again(tree, &kept.manifest)
    {
        return Ok(tree);
    }
    let tree = trees.begin(&kept.manifest)?;
    // Where it cannot be noted it is found out again.
    let _ = fs::write(&note, format!("{} {tree}", kept.digest));
    Ok(tree)
}

/// Writes what was kept through to the disk while the run begins, and notes when that is done.
fn sync_behind(state: &StateDirectory, id: &ExecutionId, keeper: Keeper) {
    let note = state.synced(id);
    thread::spawn(move || {
        let synced = keeper.sync().map_err(|error| error.to_string());
        let noted = synced.and_then(|()| write_whole(&note, b"").map_err(|error| error.to_string()));
        if let Err(error) = noted {
            // Until it is noted, a power loss makes the run one that cannot go on.
            tracing::debug!(%error, "the content of the directory is written to the disk in its own time");
        }
        // Where there is no time for it now, a later run or `prune` does it.
        if let Err(error) = keeper.fold().and_then(|folded| if folded { keeper.sync() } else { Ok(()) }) {
            tracing::debug!(%error, "what is kept of the directory stays in many parts");
        }
    });
}

/// Names this start of the machine.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
