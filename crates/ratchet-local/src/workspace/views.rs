//! What the steps of a run see and change: views of trees, and the trees that come of them.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use ratchet_core::ids::{Digest, ExecutionId};
use ratchet_engine::ports::{AttemptFiles, FileView};
use ratchet_files::{CapturedFiles, TreeSource, tree_digest};
use ratchet_workspace::{
    Bounds, ContentDigest, Contents, Kept, Marks, Stack, Stacks, Strategy, TreePath, Trees, View, WorkspaceError, probe,
};

use super::source::{Outside, Source, usable};
use crate::{blob_store::LocalBlobStore, directory::StateDirectory, error::LocalError, place::LocalPlace};

/// The files of all runs that this process drives or looks at.
#[derive(Clone)]
pub struct Files {
    inner: Arc<Inner>,
}

struct Inner {
    state: StateDirectory,
    blobs: LocalBlobStore,
    trees: Arc<Trees>,
    strategy: OnceLock<Strategy>,
    runs: Mutex<HashMap<ExecutionId, Arc<RunFiles>>>,
}

/// The files of one run.
pub(crate) struct RunFiles {
    pub(crate) source: Source,
    pub(crate) outside: Outside,
    stacks: Stacks,
    rooms: PathBuf,
    rooms_made: AtomicU64,
    idle: Mutex<Vec<Idle>>,
}

/// A view that no attempt has: the next one that begins with the same files gets it.
struct Idle {
    /// What it was opened for.
    opened: ContentDigest,
    /// What is there now.
    tree: ContentDigest,
    view: View,
}

/// So many views wait for an attempt.
const IDLE_MAX: usize = 4;

/// A view in which more paths changed is over: what lies in its folder is quicker to lie over than to be written again.
const REUSED_PATHS_MAX: usize = 256;

/// A view in the hands of an attempt.
pub(crate) struct AttemptView {
    run: Arc<RunFiles>,
    base: ContentDigest,
    opened: ContentDigest,
    shown: Arc<Shown>,
}

/// What of a view the processes of an attempt need.
struct Shown {
    root: PathBuf,
    /// Gone once the attempt is over.
    view: RwLock<Option<View>>,
}

impl Files {
    /// The files of the runs in a state directory.
    pub fn new(state: StateDirectory, blobs: LocalBlobStore) -> Self {
        let trees = Arc::new(Trees::new(Arc::new(blobs.clone())));
        let inner = Inner { state, blobs, trees, strategy: OnceLock::new(), runs: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The state directory.
    pub(crate) fn state(&self) -> &StateDirectory {
        &self.inner.state
    }

    /// Where contents are.
    pub(crate) fn blobs(&self) -> &LocalBlobStore {
        &self.inner.blobs
    }

    /// All trees.
    pub(crate) fn trees(&self) -> &Arc<Trees> {
        &self.inner.trees
    }

    /// How steps on this machine see their files.
    fn strategy(&self) -> Strategy {
        *self.inner.strategy.get_or_init(|| {
            let probe = probe(self.inner.state.root());
            for (strategy, reason) in &probe.refused {
                tracing::debug!(?strategy, reason, "this machine does not give a view of this kind");
            }
            probe.strategy
        })
    }

    /// Takes the directory of a new run as it is now, and gives it as a tree. A run that works in the directory itself has none.
    /// `exclude` are globs of what is no part of it.
    pub fn begin(
        &self,
        id: &ExecutionId,
        place: &LocalPlace,
        exclude: &[String],
    ) -> Result<Option<Digest>, LocalError> {
        if place.in_place {
            usable(place)?;
            return Ok(None);
        }
        let source = Source::take(&self.inner.state, &self.inner.trees, self.strategy(), (id, place), exclude)?;
        let tree = source.tree.to_core();
        self.keep(id, source)?;
        Ok(Some(tree))
    }

    /// Looks at the directory of a run that never begins, and gives it as a tree: its content stays where it is. `state` is the state directory that runs use.
    pub(crate) fn begin_looking(
        &self,
        id: &ExecutionId,
        (place, exclude): (&LocalPlace, &[String]),
        state: Option<&StateDirectory>,
    ) -> Result<Digest, LocalError> {
        let folder = self.inner.state.root().join("looked");
        let source = Source::look(state.unwrap_or(&self.inner.state), &self.inner.trees, (place, exclude), &folder)?;
        let tree = source.tree.to_core();
        self.keep(id, source)?;
        Ok(tree)
    }

    fn keep(&self, id: &ExecutionId, source: Source) -> Result<Arc<RunFiles>, LocalError> {
        let run = Arc::new(RunFiles::new(&self.inner.state, &self.inner.trees, self.inner.state.views(id), source)?);
        // Two that ask at once have one: of two, each would take its rooms for its own.
        Ok(self.runs().entry(id.root()).or_insert(run).clone())
    }

    /// The files of a run, or of that which it belongs to.
    pub(crate) fn of_run(&self, id: &ExecutionId) -> Result<Arc<RunFiles>, LocalError> {
        let root = id.root();
        if let Some(run) = self.runs().get(&root) {
            return Ok(run.clone());
        }
        let source = self.source_of(&root)?;
        self.keep(&root, source)
    }

    /// What was taken for the run at the root of those that a run belongs to.
    fn source_of(&self, root: &ExecutionId) -> Result<Source, LocalError> {
        Source::load(&self.inner.state, root)?.ok_or_else(|| LocalError::Damaged {
            path: self.inner.state.source(root),
            reason: "it is missing".to_owned(),
        })
    }

    /// Opens a view of a tree for somebody who is no attempt of the run, which another process may drive: all of it lies in `rooms`.
    pub(crate) fn open_apart(
        &self,
        id: &ExecutionId,
        tree: &Digest,
        rooms: PathBuf,
    ) -> Result<AttemptView, LocalError> {
        let base = tree_digest(tree)?;
        let source = self.source_of(&id.root())?;
        let run = Arc::new(RunFiles::new(&self.inner.state, &self.inner.trees, rooms, source)?);
        let view = self.open_new(&run, base)?;
        let shown = Shown { root: view.root().to_owned(), view: RwLock::new(Some(view)) };
        Ok(AttemptView { run, base, opened: base, shown: Arc::new(shown) })
    }

    /// What a view of a tree lies over.
    pub(crate) fn stack(&self, run: &RunFiles, tree: ContentDigest) -> Result<Arc<Stack>, WorkspaceError> {
        run.stacks.of(&self.inner.trees, tree)
    }

    /// Opens a view of a tree for an attempt of a run.
    pub(crate) fn open(&self, id: &ExecutionId, tree: &Digest) -> Result<AttemptView, LocalError> {
        let base = tree_digest(tree)?;
        let run = self.of_run(id)?;
        let idle = {
            let mut idle = lock(&run.idle);
            let place = idle.iter().position(|idle| idle.tree == base);
            place.map(|place| idle.swap_remove(place))
        };
        let (opened, view) = match idle {
            Some(Idle { opened, view, .. }) => (opened, view),
            None => (base, self.open_new(&run, base)?),
        };
        let shown = Shown { root: view.root().to_owned(), view: RwLock::new(Some(view)) };
        Ok(AttemptView { run, base, opened, shown: Arc::new(shown) })
    }

    /// Opens a view that nobody else uses.
    pub(crate) fn open_new(&self, run: &RunFiles, tree: ContentDigest) -> Result<View, LocalError> {
        let stack = self.stack(run, tree)?;
        let room = run.rooms.join(run.rooms_made.fetch_add(1, Ordering::Relaxed).to_string());
        crate::directory::create(&run.rooms)
            .map_err(|error| LocalError::state_directory(&run.rooms, "be written", error))?;
        Ok(View::open(run.source.strategy, &run.source.directory, &stack, &room, &self.inner.blobs)?)
    }

    /// Finds what an attempt changed, keeps it, and gives the tree that it left. No process of it is left. `declared` are the files that it gives as outputs.
    pub(crate) fn close(
        &self,
        attempt: AttemptView,
        declared: BTreeSet<TreePath>,
        bounds: Bounds,
    ) -> Result<Digest, WorkspaceError> {
        let AttemptView { run, base, opened, shown } = attempt;
        let Some(mut view) = shown.take() else { return Ok(base.to_core()) };
        // What is left out and lies there all the same: no other step must find it.
        let has_excluded = AtomicBool::new(false);
        let outside = |path: &TreePath| {
            has_excluded.fetch_or(run.outside.excludes(path), Ordering::Relaxed);
            run.outside.contains(path)
        };
        let mut layer = match view.capture(&outside, bounds) {
            Ok(layer) => layer,
            Err(error) => {
                // What is too large, or found no room, takes none from now on.
                let _ = view.remove();
                return Err(error);
            }
        };
        if !layer.is_empty() {
            Marks::new(&run.source.directory, view.root(), declared).mark(&mut layer);
            view.keep(&layer, &self.inner.blobs)?;
        }
        let tree = self.inner.trees.grow(base, layer)?;
        if has_excluded.into_inner() {
            view.remove()?;
            return Ok(tree.to_core());
        }
        view.go_on();
        self.put_back(&run, Idle { opened, tree, view })?;
        Ok(tree.to_core())
    }

    fn put_back(&self, run: &RunFiles, idle: Idle) -> Result<(), WorkspaceError> {
        let over = {
            let mut all = lock(&run.idle);
            if idle.view.changed().len() > REUSED_PATHS_MAX {
                Some(idle)
            } else {
                all.push(idle);
                (all.len() > IDLE_MAX).then(|| all.remove(0))
            }
        };
        match over {
            Some(over) => self.end(run, over),
            None => Ok(()),
        }
    }

    /// Ends a view; where its folder can lie under others, it stays for them.
    fn end(&self, run: &RunFiles, Idle { opened, tree, view }: Idle) -> Result<(), WorkspaceError> {
        let changed = view.changed().clone();
        if changed.is_empty() || view.strategy() != Strategy::Overlay {
            return view.remove();
        }
        let folder = view.into_tree();
        run.stacks.add(&self.inner.trees, (opened, tree), &changed, folder)
    }

    /// Forgets a run that this process does not drive any more, with all that it has of views.
    pub(crate) fn release(&self, id: &ExecutionId) {
        let run = self.runs().remove(&id.root());
        if let Some(run) = run {
            lock(&run.idle).clear();
            remove_rooms(&self.inner.state, id);
        }
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<ExecutionId, Arc<RunFiles>>> {
        lock(&self.inner.runs)
    }
}

/// Removes what is left of the views of a run that nobody drives.
pub(crate) fn remove_rooms(state: &StateDirectory, id: &ExecutionId) {
    let rooms = state.views(id);
    if let Err(error) = ratchet_workspace::remove_tree(&rooms) {
        tracing::debug!(%error, rooms = %rooms.display(), "what is left of views stays until the run is removed");
    }
}

impl RunFiles {
    /// The directory as it was kept.
    pub(crate) fn kept(&self) -> &Kept {
        self.stacks.kept()
    }

    fn new(state: &StateDirectory, trees: &Trees, rooms: PathBuf, source: Source) -> Result<Self, LocalError> {
        let stacks = Stacks::new(source.kept(trees)?, source.strategy.holes(), rooms.join("layers"));
        let outside = Outside::of(state, &source.directory, &source.exclude)?;
        Ok(Self { source, outside, stacks, rooms, rooms_made: AtomicU64::new(0), idle: Mutex::default() })
    }
}

impl AttemptView {
    /// Ends it with all that the attempt changed: nobody will see that.
    pub(crate) fn give_up(self) {
        if let Some(view) = self.shown.take()
            && let Err(error) = view.remove()
        {
            tracing::debug!(%error, "the room of a view stays until its run ends");
        }
    }

    /// The tree that it began with.
    pub(crate) fn base(&self) -> Digest {
        self.base.to_core()
    }

    /// The files as the attempt's processes find them, and this one.
    pub(crate) fn files(&self) -> AttemptFiles {
        let path =
            if self.run.source.strategy.is_at_own_path() { &self.run.source.directory } else { &self.shown.root };
        AttemptFiles::in_view(path, self.shown.clone())
    }
}

impl Shown {
    fn take(&self) -> Option<View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl FileView for Shown {
    fn root(&self) -> &Path {
        &self.root
    }

    fn place(&self, command: &mut Command, folder: &Path) -> io::Result<()> {
        let folder = if folder.as_os_str().is_empty() {
            None
        } else {
            Some(TreePath::new(folder).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?)
        };
        match &*self.view.read().unwrap_or_else(PoisonError::into_inner) {
            Some(view) => view.place(command, folder.as_ref()),
            None => Err(io::Error::other("the attempt is over")),
        }
    }
}

/// The trees of a run, for whoever reads them as data.
pub(crate) struct RunTrees {
    pub(crate) files: Files,
    pub(crate) run: Arc<RunFiles>,
    /// The folder of the workflow's file.
    pub(crate) definitions: Option<PathBuf>,
}

impl TreeSource for RunTrees {
    fn directory(&self) -> &Path {
        &self.run.source.directory
    }

    fn hides(&self, path: &Path) -> bool {
        self.run.outside.hides(path)
    }

    fn stack(&self, tree: ContentDigest) -> Result<Arc<Stack>, WorkspaceError> {
        self.files.stack(&self.run, tree)
    }

    fn contents(&self) -> &dyn Contents {
        self.files.blobs()
    }

    fn captured(&self) -> &dyn CapturedFiles {
        self.files.state()
    }

    fn definitions(&self) -> Option<&Path> {
        self.definitions.as_deref()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
