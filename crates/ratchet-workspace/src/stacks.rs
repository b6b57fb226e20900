//! What lies of a run's trees on this machine: so that a view of what a step before left needs nothing but the folders that are there already.

use std::{
    collections::{HashMap, VecDeque},
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    digest::ContentDigest, error::WorkspaceError, kept::Kept, layer::Layer, lower::Holes, tree::Trees, view::Stack,
};

/// The stacks of a run's trees, over the kept directory that the run began with.
#[derive(Debug)]
pub struct Stacks {
    kept: Arc<Kept>,
    holes: Holes,
    folder: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    stacks: HashMap<ContentDigest, Arc<Stack>>,
    /// The oldest first.
    order: VecDeque<ContentDigest>,
    folders_made: u64,
}

/// So many stacks are known at a time; what is needed again is put together again.
const STACKS_MAX: usize = 128;

/// A view lies over no more layers than this: more of them are made into one first.
const LAYERS_MAX: usize = if cfg!(test) { 2 } else { 32 };

impl Stacks {
    /// The stacks over a kept directory. `folder` is one of the engine's, for what has to be written; nothing is in it that is needed.
    pub fn new(kept: Arc<Kept>, holes: Holes, folder: impl Into<PathBuf>) -> Self {
        Self { kept, holes, folder: folder.into(), known: Mutex::default() }
    }

    /// The directory that all of them lie over.
    pub fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// What a view of a tree lies over.
    pub fn of(&self, trees: &Trees, tree: ContentDigest) -> Result<Arc<Stack>, WorkspaceError> {
        if let Some(stack) = self.known(tree) {
            return Ok(stack);
        }
        let (first, rest) = trees.chain(tree)?;
        let known = rest.iter().enumerate().rev().find_map(|(at, (digest, _))| Some((at + 1, self.known(*digest)?)));
        let (from, mut stack) = if let Some((from, stack)) = known {
            (from, (*stack).clone())
        } else {
            let mut stack = Stack::new(self.kept.clone());
            if let Some(layer) = first {
                stack.lay(Arc::new(layer), None)?;
            }
            (0, stack)
        };
        for (_, tree) in &rest[from..] {
            stack.lay(tree.layer.clone(), None)?;
        }
        self.settle(trees, tree, stack)
    }

    /// Notes what came of a view of `from` that is over: the changed paths lie in a folder that another view can lie over.
    pub fn add(
        &self,
        trees: &Trees,
        (from, to): (ContentDigest, ContentDigest),
        layer: &Layer,
        folder: Option<PathBuf>,
    ) -> Result<(), WorkspaceError> {
        let mut stack = (*self.of(trees, from)?).clone();
        stack.lay(Arc::new(layer.clone()), folder)?;
        self.settle(trees, to, stack).map(drop)
    }

    /// Makes a stack quick to lie over, and notes it.
    fn settle(&self, trees: &Trees, tree: ContentDigest, stack: Stack) -> Result<Arc<Stack>, WorkspaceError> {
        let is_laid = self.holes == Holes::Untold || stack.is_laid();
        let stack = if is_laid && stack.layers() <= LAYERS_MAX {
            stack
        } else {
            let folder = (self.holes == Holes::Told).then(|| self.new_folder()).transpose()?;
            stack.folded(folder.as_deref(), &**trees.contents())?
        };
        let stack = Arc::new(stack);
        let mut known = self.lock();
        if known.stacks.insert(tree, stack.clone()).is_none() {
            known.order.push_back(tree);
        }
        while known.order.len() > STACKS_MAX {
            let oldest = known.order.pop_front();
            oldest.and_then(|oldest| known.stacks.remove(&oldest));
        }
        Ok(stack)
    }

    fn known(&self, tree: ContentDigest) -> Option<Arc<Stack>> {
        self.lock().stacks.get(&tree).cloned()
    }

    fn new_folder(&self) -> Result<PathBuf, WorkspaceError> {
        let number = {
            let mut known = self.lock();
            known.folders_made += 1;
            known.folders_made
        };
        let refused = |path: &Path, error| WorkspaceError::writing(path, error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| refused(&self.folder, error))?;
        Ok(self.folder.join(number.to_string()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
