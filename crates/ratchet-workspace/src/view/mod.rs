//! What a step works in: the directory as the steps before left it, in which it may do what it likes.

mod elsewhere;
mod namespace;
mod probe;
mod stack;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use self::{
    elsewhere::Elsewhere,
    namespace::{Mount, Namespace, Rights},
};
pub use self::{
    probe::{Probe, probe},
    stack::Stack,
};
use crate::{
    apply::{GitState, Repository},
    contents::Contents,
    disk::remove_tree,
    error::WorkspaceError,
    layer::Layer,
    manifest::{Entry, Manifest},
    path::TreePath,
    scan::{Item, Skip, scan_after},
    stamp::StatCache,
    upper,
};

/// How a view is made. All three give a step the same files, and the same changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The kernel lays an empty folder over the kept content, at the directory's own path. It costs nothing to make, and its changes lie in that folder.
    Overlay,
    /// A copy, seen at the directory's own path.
    BoundCopy,
    /// A copy at a path of its own. What names the directory by its absolute path does not work in it.
    Copy,
}

impl Strategy {
    /// Whether a step sees its files at the directory's own absolute path.
    pub fn is_at_own_path(self) -> bool {
        self != Self::Copy
    }

    /// Whether what it lies over must say what is gone.
    pub fn holes(self) -> crate::lower::Holes {
        if self == Self::Overlay { crate::lower::Holes::Told } else { crate::lower::Holes::Untold }
    }
}

/// How much a step may leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The bytes of the files that it changed.
    pub bytes: u64,
    /// The paths that it changed.
    pub paths: u64,
}

impl Bounds {
    /// No bound but the format's own.
    pub const NONE: Self = Self { bytes: u64::MAX, paths: crate::manifest::ENTRIES_MAX as u64 };

    /// Refuses what is too much before all of it is read: a file of another size than before was changed in any case.
    fn check_sizes(
        self,
        found: &[(TreePath, Item)],
        before: &dyn Fn(&TreePath) -> Option<u64>,
    ) -> Result<(), WorkspaceError> {
        if self.bytes == u64::MAX {
            return Ok(());
        }
        let (mut amount, mut largest) = (0_u64, None);
        for (path, item) in found {
            if let Item::File { stamp, .. } = item
                && before(path) != Some(stamp.size)
            {
                amount = amount.saturating_add(stamp.size);
                largest = largest.max(Some((stamp.size, path)));
            }
        }
        match largest {
            Some((_, largest)) if amount > self.bytes => {
                Err(WorkspaceError::TooLarge { amount, unit: "bytes", bound: self.bytes, largest: largest.clone() })
            }
            _ => Ok(()),
        }
    }

    fn check(self, layer: &Layer) -> Result<(), WorkspaceError> {
        let size = |entry: &Option<Entry>| entry.as_ref().and_then(Entry::content).map_or(0, |(_, size)| size);
        let largest = || layer.iter().max_by_key(|(_, change)| size(&change.after)).map(|(path, _)| path.clone());
        let over = [(layer.bytes(), "bytes", self.bytes), (layer.len() as u64, "paths", self.paths)];
        let over = over.into_iter().find(|(amount, _, bound)| amount > bound);
        match over.and_then(|over| Some((over, largest()?))) {
            Some(((amount, unit, bound), largest)) => Err(WorkspaceError::TooLarge { amount, unit, bound, largest }),
            None => Ok(()),
        }
    }
}

/// The files of one step, or of several that follow each other. Dropped, its mounts go; its folder stays until [`View::remove`].
#[derive(Debug)]
pub struct View {
    strategy: Strategy,
    /// The directory's own path.
    at: PathBuf,
    /// The folder of the engine's that all of it lies in.
    room: PathBuf,
    /// Where this process finds the files.
    root: PathBuf,
    namespace: Option<Namespace>,
    /// What was there when it was opened; of a copy, when it went on last.
    start: Manifest,
    /// Of an overlay: what had changed since it was opened when it went on last.
    changed: Layer,
    captured: Captured,
    /// What is known of files that were read already: those of a copy, or those that an overlay brought.
    known: StatCache,
    /// Of a copy at another path: its links.
    elsewhere: Option<Elsewhere>,
}

impl View {
    /// Opens a view of what lies on a stack, for the directory `at`. `room` is a folder of the engine's for this view alone; what lies in it goes. Contents that lie
    /// nowhere on this machine come from `contents`.
    pub fn open(
        strategy: Strategy,
        at: &Path,
        stack: &Stack,
        room: &Path,
        contents: &dyn Contents,
    ) -> Result<Self, WorkspaceError> {
        Self::open_with(strategy, at, stack, room, contents, Rights::Best)
    }

    fn open_with(
        strategy: Strategy,
        at: &Path,
        stack: &Stack,
        room: &Path,
        contents: &dyn Contents,
        rights: Rights,
    ) -> Result<Self, WorkspaceError> {
        let failed = |error| WorkspaceError::writing(room, error);
        remove_tree(room).map_err(failed)?;
        DirBuilder::new().recursive(true).mode(0o700).create(room).map_err(failed)?;
        let mode = fs::metadata(at).map_or(0o755, |metadata| metadata.permissions().mode() & 0o7777);
        let make = |name: &str, mode: u32| {
            let folder = room.join(name);
            fs::create_dir(&folder).and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(mode)))
        };
        let (mut known, mut elsewhere) = (StatCache::default(), None);
        let (root, namespace) = match strategy {
            Strategy::Overlay => {
                make(UPPER, mode).and_then(|()| make(WORK, 0o700)).map_err(failed)?;
                let lowers = stack.lowers(&room.join(LAYERS), contents)?;
                let namespace = Namespace::make(at, &Mount::overlay(room, &lowers)?, rights)?;
                (namespace.root(), Some(namespace))
            }
            Strategy::BoundCopy | Strategy::Copy => {
                let files = room.join(FILES);
                if strategy == Strategy::Copy {
                    elsewhere = Some(Elsewhere::new(at, &files, stack, contents)?);
                }
                let tree = elsewhere.as_ref().map(|elsewhere| elsewhere.there(stack.manifest()));
                known = stack.copy(&files, tree.as_ref().unwrap_or(stack.manifest()), contents)?;
                fs::set_permissions(&files, Permissions::from_mode(mode)).map_err(failed)?;
                let bound = strategy == Strategy::BoundCopy;
                let namespace = bound.then(|| Namespace::make(at, &Mount::bind(&files)?, rights)).transpose()?;
                (namespace.as_ref().map_or(files, Namespace::root), namespace)
            }
        };
        let (at, room, start) = (at.to_owned(), room.to_owned(), stack.manifest().clone());
        let (changed, captured) = (Layer::default(), Captured::default());
        Ok(Self { strategy, at, room, root, namespace, start, changed, captured, known, elsewhere })
    }

    /// How it is made.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Where a step finds its files.
    pub fn path(&self) -> &Path {
        if self.strategy.is_at_own_path() { &self.at } else { &self.root }
    }

    /// Where this process finds them. It is a path for this process alone, and means something else once its links are resolved: it is joined and opened, never made
    /// canonical and never given to another program, which is started in the view instead.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a command start in a folder of the view, seeing it. The command's own working directory does not count any more.
    pub fn place(&self, command: &mut Command, folder: Option<&TreePath>) -> io::Result<()> {
        let directory = folder.map_or_else(|| self.path().to_owned(), |folder| self.path().join(folder.as_path()));
        if let Some(namespace) = &self.namespace {
            return namespace.place(command, &directory);
        }
        command.current_dir(directory);
        Ok(())
    }

    /// Finds what changed since the view was opened, or went on. No process may be at work in it any more.
    pub fn capture(&mut self, skip: Skip<'_>, bounds: Bounds) -> Result<Layer, WorkspaceError> {
        let layer = match self.strategy {
            Strategy::Overlay => {
                let before = |path: &TreePath| match self.changed.get(path) {
                    Some(change) => size_of(change.after.as_ref()),
                    None => size_of(self.start.get(path)),
                };
                let glance = |found: &[(TreePath, Item)]| bounds.check_sizes(found, &before);
                let (changed, known) = upper::read(&self.room.join(UPPER), &self.start, skip, &self.known, &glance)?;
                (self.captured.changed, self.known) = (changed, known);
                Layer::from_to(&self.changed, &self.captured.changed)
            }
            Strategy::BoundCopy | Strategy::Copy => {
                self.captured.now = self.scan(skip, bounds)?;
                Layer::between(&self.start, &self.captured.now)
            }
        };
        bounds.check(&layer)?;
        Ok(layer)
    }

    /// Makes a view for the next step of the one that was of the step before: what was captured last is what it begins with.
    pub fn go_on(&mut self) {
        match self.strategy {
            Strategy::Overlay => self.changed.clone_from(&self.captured.changed),
            Strategy::BoundCopy | Strategy::Copy => self.start.clone_from(&self.captured.now),
        }
    }

    /// All that had changed since it was opened when it was captured last, where [`Self::into_tree`] gives a folder that holds it.
    pub fn changed(&self) -> &Layer {
        &self.captured.changed
    }

    fn scan(&mut self, skip: Skip<'_>, bounds: Bounds) -> Result<Manifest, WorkspaceError> {
        let before = |path: &TreePath| size_of(self.start.get(path));
        let glance = |found: &[(TreePath, Item)]| bounds.check_sizes(found, &before);
        let now = scan_after(&self.room.join(FILES), skip, &self.known, &glance)?;
        self.known = now.cache;
        Ok(match &self.elsewhere {
            Some(elsewhere) => elsewhere.back(&now.manifest),
            None => now.manifest,
        })
    }

    /// Where the repository of the view points, if it has one.
    pub fn git_state(&self) -> Result<Option<GitState>, WorkspaceError> {
        Repository::state_in(self)
    }

    /// Keeps the contents of the files that a layer of this view changed.
    pub fn keep(&self, layer: &Layer, contents: &dyn Contents) -> Result<(), WorkspaceError> {
        let mut seen = BTreeSet::new();
        let changed = layer.iter().filter_map(|(path, change)| Some((path, change.after.as_ref()?.content()?)));
        let changed = changed.filter(|(_, (digest, _))| seen.insert(*digest));
        let (files, expected): (Vec<PathBuf>, Vec<_>) =
            changed.map(|(path, content)| (self.root.join(path.as_path()), content)).unzip();
        let kept = contents.keep_all(&files)?;
        let wrong = kept.into_iter().zip(expected).position(|(kept, expected)| kept != expected);
        wrong.map_or(Ok(()), |wrong| Err(WorkspaceError::Changing { path: files[wrong].clone() }))
    }

    /// Ends the view and gives the folder that holds its changes in the form that another view can lie over, where there is one. The folder must not be
    /// changed any more and stays until the caller removes it.
    pub fn into_tree(self) -> Option<PathBuf> {
        (self.strategy == Strategy::Overlay).then(|| self.room.join(UPPER))
    }

    /// A view of what lies on a stack now, where this one is over. A copy whose files are already as they should be is used again.
    pub fn next(mut self, stack: &Stack, room: &Path, contents: &dyn Contents) -> Result<Self, WorkspaceError> {
        if self.strategy != Strategy::Overlay {
            let now = self.scan(&|_| false, Bounds::NONE)?;
            if now == *stack.manifest() {
                self.start = now;
                return Ok(self);
            }
        }
        Self::open(self.strategy, &self.at, stack, room, contents)
    }

    /// Ends the view and removes all that lies in its room.
    pub fn remove(self) -> Result<(), WorkspaceError> {
        let Self { namespace, room, .. } = self;
        drop(namespace);
        remove_tree(&room).map_err(|error| WorkspaceError::writing(&room, error))
    }
}

fn size_of(entry: Option<&Entry>) -> Option<u64> {
    entry.and_then(Entry::content).map(|(_, size)| size)
}

/// What was found when a view was captured last.
#[derive(Debug, Default)]
struct Captured {
    /// Of an overlay: what had changed since it was opened.
    changed: Layer,
    /// Of a copy: what was there.
    now: Manifest,
}

const UPPER: &str = "upper";
const WORK: &str = "work";
const LAYERS: &str = "layers";
const FILES: &str = "files";
