//! The content of the user's directory, kept apart from it: what a view lies over never changes, whatever the user does meanwhile.
//!
//! A directory is copied once. Later only what changed since is copied, into a tree that lies over the ones before, so that a run on a directory
//! that is known begins after one look at each file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::SystemTime,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    apply::Repository,
    contents::{Copied, Copier},
    digest::ContentDigest,
    disk::remove_tree,
    error::WorkspaceError,
    layer::Layer,
    lower::{self, Holes},
    manifest::{Entry, Manifest},
    path::TreePath,
    scan::{Item, Skip, in_parallel_each, list, look_up, read_files, read_one},
    stamp::StatCache,
};

/// A directory as it was at one moment.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What was there.
    pub manifest: Manifest,
    /// Its digest.
    pub digest: ContentDigest,
    /// The folders that hold it, the topmost first. They are never written to again.
    pub trees: Vec<PathBuf>,
    /// How many files had to be copied.
    pub files_copied: usize,
}

impl Kept {
    /// Where the content of a path lies that the manifest says is a file.
    pub fn locate(&self, path: &TreePath) -> Option<PathBuf> {
        let mut candidates = self.trees.iter().map(|tree| tree.join(path.as_path()));
        candidates.find(|candidate| candidate.symlink_metadata().is_ok_and(|metadata| metadata.is_file()))
    }
}

/// Keeps the content of one directory, run after run.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    holes: Holes,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// The number of the newest state; its manifest and cache are named after it.
    number: u64,
    /// The names of the trees, the topmost first.
    trees: Vec<String>,
    /// Whether the trees say what is gone.
    holes: Holes,
    /// The digest of the manifest, which is only read where it differs.
    manifest: Option<ContentDigest>,
    /// The start of the machine in which it was written.
    boot: String,
    /// Whether it is on the disk, so that it outlives that start.
    is_synced: bool,
}

/// So many trees are laid over each other before they are made into one again.
const TREES_MAX: usize = 24;

/// With so many, nobody had the time for it, and a run waits for it: a view lies over no more than the kernel takes.
const TREES_UNFOLDED_MAX: usize = 4 * TREES_MAX;

impl Keeper {
    /// What keeps a directory's content in a folder of the engine's, which no step ever sees.
    pub fn new(folder: impl Into<PathBuf>, holes: Holes) -> Self {
        Self { folder: folder.into(), holes }
    }

    /// Takes the directory as it is now. `skip` says what is no part of it.
    pub fn keep(&self, source: &Path, skip: Skip<'_>) -> Result<Kept, WorkspaceError> {
        let _lock = self.lock()?;
        let kept = match self.keep_locked(source, skip) {
            // What was kept is forgotten by now.
            Err(WorkspaceError::Damaged { .. }) => self.keep_locked(source, skip),
            other => other,
        }?;
        if kept.trees.len() > TREES_UNFOLDED_MAX {
            self.fold_locked()?;
            return self.keep_locked(source, skip);
        }
        Ok(kept)
    }

    /// The directory as it is now. Nothing of it is copied, and nothing is noted: what was kept before saves reading what has not changed since. What a repository has
    /// elsewhere is put together in a folder where nothing is.
    pub fn look(&self, source: &Path, skip: Skip<'_>, folder: &Path) -> Result<Kept, WorkspaceError> {
        let failed = |error| WorkspaceError::writing(folder, error);
        make(folder).map_err(failed)?;
        let (_, known) = self.load();
        let Sources { mut found, elsewhere } = Sources::list(source, skip, &folder.join("git"))?;
        look_up(&mut found, &known);
        let is_elsewhere = |path: &TreePath| elsewhere.contains_key(path);
        let (mut here, mut rest): (Vec<_>, Vec<_>) = found.into_iter().partition(|(path, _)| !is_elsewhere(path));
        read_files(source, &mut here)?;
        let (copier, tree) = (Copier::default(), folder.join("tree"));
        for (path, item) in &mut rest {
            let from = &elsewhere[&*path];
            // Objects are found by their names, and nobody asks what is in them.
            if path.as_bytes().starts_with(b".git/objects/") || !matches!(item, Item::File { .. }) {
                *item = read_one(from)?;
                continue;
            }
            let to = tree.join(path.as_path());
            make(to.parent().unwrap_or(&tree)).map_err(failed)?;
            *item = match copier.copy(from, &to)? {
                Some(Copied { mode, stamp, digest }) => Item::File { mode, stamp, digest: Some(digest) },
                None => Item::Other,
            };
        }
        here.append(&mut rest);
        let entries = here.into_iter().filter_map(|(path, item)| Some((path, entry(item)?)));
        let manifest: Manifest = entries.collect();
        let digest = manifest.digest();
        Ok(Kept { manifest, digest, trees: vec![tree, source.to_owned()], files_copied: 0 })
    }

    fn keep_locked(&self, source: &Path, skip: Skip<'_>) -> Result<Kept, WorkspaceError> {
        let begun = SystemTime::now();
        // What is known is read while the directory is looked at.
        let (sources, loaded) = thread::scope(|scope| {
            let loading = scope.spawn(|| self.load());
            let sources = Sources::list(source, skip, &self.folder.join("git"));
            (sources, loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let ((mut state, known), Sources { mut found, elsewhere }) = (loaded, sources?);
        look_up(&mut found, &known);
        let name = format!("{}", state.number + 1);
        let staging = self.folder.join(format!("{name}.staging"));
        for leaving in [&staging, &self.tree(&name)] {
            remove_tree(leaving).map_err(|error| WorkspaceError::writing(leaving, error))?;
        }
        make(&staging).map_err(|error| WorkspaceError::writing(&staging, error))?;
        let copied = copy_unknown(source, &elsewhere, &mut found, &staging);
        let outcome = copied.and_then(|staged| self.keep_found(&mut state, &known, (found, begun), &staged));
        let cleared = remove_tree(&staging).map_err(|error| WorkspaceError::writing(&staging, error));
        outcome.and_then(|kept| cleared.map(|()| kept))
    }

    fn keep_found(
        &self,
        state: &mut State,
        known: &StatCache,
        (found, begun): (Vec<(TreePath, Item)>, SystemTime),
        staged: &BTreeMap<TreePath, PathBuf>,
    ) -> Result<Kept, WorkspaceError> {
        let mut cache = Vec::with_capacity(found.len());
        let mut entries = Vec::with_capacity(found.len());
        for (path, item) in found {
            if let Item::File { stamp, digest: Some(digest), .. } = &item
                && !stamp.is_doubtful_at(begun)
            {
                cache.push((path.clone(), *stamp, *digest));
            }
            entries.extend(entry(item).map(|entry| (path, entry)));
        }
        let (manifest, cache): (Manifest, _) = (entries.into_iter().collect(), StatCache::new(cache));
        let digest = manifest.digest();
        let kept = |state: &State, manifest| Kept {
            manifest,
            digest,
            trees: state.trees.iter().map(|name| self.tree(name)).collect(),
            files_copied: staged.len(),
        };
        if state.manifest == Some(digest) {
            if cache != *known {
                self.save(state, &manifest, &cache)?;
            }
            return Ok(kept(state, manifest));
        }
        let before = if state.trees.is_empty() { Manifest::default() } else { self.load_manifest(state)? };
        let layer = Layer::between(&before, &manifest);
        let name = format!("{}", state.number + 1);
        lower::write(&self.tree(&name), self.holes, &layer, &manifest, &mut |path, _, to| {
            // Whatever differs has another stamp, so it was copied.
            let from = staged.get(path).ok_or_else(|| damaged(&self.folder, &format!("{path} is missing")))?;
            fs::rename(from, to).map_err(|error| WorkspaceError::writing(to, error))
        })?;
        state.trees.insert(0, name);
        self.save(state, &manifest, &cache)?;
        Ok(kept(state, manifest))
    }

    /// Makes one tree of many, where there are many, so that views stay quick. What runs use is left alone. Whether there was anything to do.
    pub fn fold(&self) -> Result<bool, WorkspaceError> {
        let _lock = self.lock()?;
        self.fold_locked()
    }

    fn fold_locked(&self) -> Result<bool, WorkspaceError> {
        let (mut state, cache) = self.load();
        if state.trees.len() <= TREES_MAX {
            return Ok(false);
        }
        let manifest = self.load_manifest(&state)?;
        let trees = state.trees.iter().map(|name| self.tree(name)).collect();
        let kept = Kept { manifest: manifest.clone(), digest: manifest.digest(), trees, files_copied: 0 };
        let name = format!("{}", state.number + 1);
        let folder = self.tree(&name);
        remove_tree(&folder).map_err(|error| WorkspaceError::writing(&folder, error))?;
        let whole = Layer::between(&Manifest::default(), &manifest);
        lower::write(&folder, self.holes, &whole, &manifest, &mut |path, _, to| {
            let from = kept.locate(path).ok_or_else(|| damaged(&self.folder, &format!("{path} is missing")))?;
            // Both are the engine's own, and nobody writes to either.
            fs::hard_link(from, to).map_err(|error| WorkspaceError::writing(to, error))
        })?;
        state.trees = vec![name];
        self.save(&mut state, &manifest, &cache)?;
        Ok(true)
    }

    /// Writes what is kept through to the disk. Before that, a power loss makes the next run begin with a whole copy.
    pub fn sync(&self) -> Result<(), WorkspaceError> {
        let failed = |error| WorkspaceError::writing(&self.folder, error);
        let number = self.load().0.number;
        File::open(&self.folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?)).map_err(failed)?;
        let _lock = self.lock()?;
        let (mut state, _) = self.load();
        if state.number == number {
            state.is_synced = true;
            self.save_state(&state)?;
        }
        Ok(())
    }

    /// Removes trees that the newest state does not need and no run uses.
    pub fn remove_unused(&self, used: &BTreeSet<PathBuf>) -> Result<(), WorkspaceError> {
        let failed = |error| WorkspaceError::writing(&self.folder, error);
        let _lock = self.lock()?;
        let (state, _) = self.load();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_needed = used.contains(&path) || state.trees.iter().any(|name| self.tree(name) == path);
            if path.extension().is_some_and(|extension| extension == "tree") && !is_needed {
                remove_tree(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn tree(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.tree"))
    }

    fn lock(&self) -> Result<File, WorkspaceError> {
        let failed = |error| WorkspaceError::writing(&self.folder, error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let lock = File::create(self.folder.join("lock")).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(lock)
    }

    /// What was kept last. What cannot be read, or what a power loss may have taken, is nothing: the directory is copied again.
    fn load(&self) -> (State, StatCache) {
        let state: State = fs::read(self.folder.join("state"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let nothing = || {
            // Runs may still use trees that no state names.
            let state = State { number: self.newest().max(state.number), holes: self.holes, ..State::default() };
            (state, StatCache::default())
        };
        if (!state.is_synced && state.boot != boot()) || state.holes != self.holes {
            return nothing();
        }
        let named = |kind: &str| self.folder.join(format!("{}.{kind}", state.number));
        let cache = File::open(named("cache")).and_then(StatCache::read);
        let is_whole = named("manifest").is_file() && state.trees.iter().all(|name| self.tree(name).is_dir());
        match cache {
            Ok(cache) if is_whole => (state, cache),
            _ => nothing(),
        }
    }

    /// What was there last. Where it cannot be read, everything kept is forgotten, so that the next run begins with a whole copy.
    fn load_manifest(&self, state: &State) -> Result<Manifest, WorkspaceError> {
        let read = File::open(self.folder.join(format!("{}.manifest", state.number))).and_then(Manifest::read);
        read.map_err(|error| {
            let _ = fs::remove_file(self.folder.join("state"));
            damaged(&self.folder, &error.to_string())
        })
    }

    /// The highest number of a tree.
    fn newest(&self) -> u64 {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let trees = names.filter(|path| path.extension().is_some_and(|extension| extension == "tree"));
        trees.filter_map(|path| path.file_stem()?.to_str()?.parse().ok()).max().unwrap_or_default()
    }

    fn save(&self, state: &mut State, manifest: &Manifest, cache: &StatCache) -> Result<(), WorkspaceError> {
        let old = state.number;
        state.number += 1;
        (state.boot, state.is_synced, state.manifest) = (boot(), false, Some(manifest.digest()));
        let named = |number: u64, kind: &str| self.folder.join(format!("{number}.{kind}"));
        let failed = |error| WorkspaceError::writing(&self.folder, error);
        File::create(named(state.number, "manifest")).and_then(|file| manifest.write(file)).map_err(failed)?;
        File::create(named(state.number, "cache")).and_then(|file| cache.write(file)).map_err(failed)?;
        self.save_state(state)?;
        for kind in ["manifest", "cache"] {
            // The state names the new ones: what is left of the old ones is only room.
            let _ = fs::remove_file(named(old, kind));
        }
        Ok(())
    }

    fn save_state(&self, state: &State) -> Result<(), WorkspaceError> {
        let failed = |error| WorkspaceError::writing(&self.folder, error);
        let text = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        let written = self.folder.join("state.new");
        fs::write(&written, text).and_then(|()| fs::rename(&written, self.folder.join("state"))).map_err(failed)
    }
}

/// What a directory consists of. A repository that has part of itself elsewhere (a linked worktree, objects that it borrows) is made whole, so that nothing
/// that a step does to it reaches the other one.
struct Sources {
    found: Vec<(TreePath, Item)>,
    /// Where the files lie that are not below the directory.
    elsewhere: BTreeMap<TreePath, PathBuf>,
}

impl Sources {
    fn list(source: &Path, skip: Skip<'_>, own: &Path) -> Result<Self, WorkspaceError> {
        let found = list(source, skip)?;
        let git = git_path(&[])?;
        let repository = Repository::find(source)?.filter(|_| !skip(&git));
        let Some(repository) = repository else { return Ok(Self { found, elsewhere: BTreeMap::new() }) };
        let (linked, alternates) = (repository.is_linked(), repository.alternates());
        if !linked && alternates.is_empty() {
            return Ok(Self { found, elsewhere: BTreeMap::new() });
        }
        let borrows = git_path(&["objects", "info", "alternates"])?;
        let is_kept = |path: &TreePath| *path != borrows && !(linked && *path == git);
        let here = found.into_iter().filter(|(path, _)| is_kept(path)).map(|(path, item)| (path, item, None));
        let mut parts: Vec<Part> = here.collect();
        if linked {
            remove_tree(own).map_err(|error| WorkspaceError::writing(own, error))?;
            make(own).map_err(|error| WorkspaceError::writing(own, error))?;
            repository.write_own(own)?;
            graft(&mut parts, &git, own)?;
            for (name, folder) in repository.shared_folders() {
                graft(&mut parts, &git_path(&[name])?, &folder)?;
            }
        }
        for folder in alternates {
            graft(&mut parts, &git_path(&["objects"])?, &folder)?;
        }
        parts.retain(|(path, ..)| is_kept(path) || *path == git);
        // Of several with one path, the first counts: what lies in the directory itself.
        parts.sort_by(|(left, ..), (right, ..)| left.cmp(right));
        parts.dedup_by(|(later, ..), (earlier, ..)| later == earlier);
        let mut sources = Self { found: Vec::with_capacity(parts.len()), elsewhere: BTreeMap::new() };
        for (path, item, elsewhere) in parts {
            sources.elsewhere.extend(elsewhere.map(|elsewhere| (path.clone(), elsewhere)));
            sources.found.push((path, item));
        }
        Ok(sources)
    }
}

/// A path, what lies there, and where that is unless it is below the directory.
type Part = (TreePath, Item, Option<PathBuf>);

/// Adds a folder that lies elsewhere, where there is one.
fn graft(parts: &mut Vec<Part>, at: &TreePath, folder: &Path) -> Result<(), WorkspaceError> {
    if !folder.is_dir() {
        return Ok(());
    }
    parts.push((at.clone(), Item::Folder { mode: 0o755 }, None));
    for (path, item) in list(folder, &|_| false)? {
        let absolute = folder.join(path.as_path());
        let path = TreePath::inside(Some(at), path.as_bytes())
            .map_err(|error| WorkspaceError::reading(&absolute, io::Error::other(error)))?;
        parts.push((path, item, Some(absolute)));
    }
    Ok(())
}

/// A path in git's own folder.
fn git_path(parts: &[&str]) -> Result<TreePath, WorkspaceError> {
    let path = [&[".git"], parts].concat().join("/");
    TreePath::new(&path).map_err(|error| WorkspaceError::reading(Path::new(&path), io::Error::other(error)))
}

/// Copies every file whose digest is not known into the staging folder, and notes what was copied.
fn copy_unknown(
    source: &Path,
    elsewhere: &BTreeMap<TreePath, PathBuf>,
    found: &mut [(TreePath, Item)],
    staging: &Path,
) -> Result<BTreeMap<TreePath, PathBuf>, WorkspaceError> {
    let is_unknown = |item: &Item| matches!(item, Item::File { digest: None, .. });
    let unknown: Vec<_> =
        found.iter().enumerate().filter(|(_, (_, item))| is_unknown(item)).map(|(at, _)| at).collect();
    let (copier, next) = (Copier::default(), AtomicU64::new(0));
    let copies = in_parallel_each(&unknown, |at| {
        let to = staging.join(next.fetch_add(1, Ordering::Relaxed).to_string());
        let path = &found[*at].0;
        let from = elsewhere.get(path).cloned().unwrap_or_else(|| source.join(path.as_path()));
        Ok(copier.copy(&from, &to)?.map(|copied| (copied, to)))
    })?;
    let mut staged = BTreeMap::new();
    for (at, copied) in unknown.into_iter().zip(copies) {
        let (path, item) = &mut found[at];
        *item = match copied {
            Some((Copied { mode, stamp, digest }, to)) => {
                staged.insert(path.clone(), to);
                Item::File { mode, stamp, digest: Some(digest) }
            }
            None => Item::Other,
        };
    }
    Ok(staged)
}

/// What lies at a path, as a manifest says it.
fn entry(item: Item) -> Option<Entry> {
    match item {
        Item::Folder { mode } => Some(Entry::Folder { mode }),
        Item::Link(target) => Some(Entry::Link { target }),
        Item::File { mode, stamp, digest: Some(digest) } => Some(Entry::File { mode, size: stamp.size, digest }),
        Item::File { digest: None, .. } | Item::Whiteout | Item::Other => None,
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn damaged(folder: &Path, reason: &str) -> WorkspaceError {
    WorkspaceError::Damaged { what: folder.display().to_string(), reason: reason.to_owned() }
}

/// Names this start of the machine.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
