//! The files of a step: made from its tree before it begins, and looked through after its end.

use std::{
    collections::BTreeSet,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use ratchet_aws::{
    task::Task,
    workspaces::{DeployedPlace, VIEW, workspace_in},
};
use ratchet_core::ids::Digest;
use ratchet_engine::{
    order::Order,
    ports::{AttemptFiles, FileView},
};
use ratchet_files::tree_digest;
use ratchet_workspace::{
    Bounds, ContentDigest, Exclude, Kept, Marks, STAGE_PREFIX, Stack, Strategy, TreePath, Trees, View, WorkspaceError,
};

use crate::user::User;

/// The files of an attempt.
pub(crate) struct Files {
    trees: Trees,
    base: ContentDigest,
    exclude: Option<Exclude>,
    shown: Arc<Shown>,
}

/// What of them its processes need.
struct Shown {
    root: PathBuf,
    view: Mutex<Option<View>>,
    user: User,
    /// Folders that belong to the user of the processes besides the files.
    handed: [PathBuf; 2],
}

impl Files {
    /// Writes the files of a tree, and those of other steps that the order names. `handed` are folders that the step's processes use.
    pub(crate) fn open(
        task: &Task,
        order: &Order,
        tree: &Digest,
        user: User,
        handed: [PathBuf; 2],
    ) -> Result<Self, WorkspaceError> {
        let folder = &task.settings.folder;
        let writing = |source: io::Error| WorkspaceError::Unwritable { path: folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(writing)?;
        let exclude = DeployedPlace::of(&order.place).exclude;
        let wrong = |what: String, reason: String| WorkspaceError::Damaged { what, reason };
        let exclude = (!exclude.is_empty()).then(|| Exclude::new(&exclude)).transpose();
        let exclude = exclude.map_err(|error| wrong("what is no part of the run".to_owned(), error.to_string()))?;
        let (trees, base) = (Trees::new(task.contents.clone()), tree_digest(tree)?);
        let manifest = trees.manifest(base)?;
        let digest = manifest.digest();
        let stack = Stack::new(Arc::new(Kept { manifest, digest, trees: Vec::new(), files_copied: 0 }));
        let at = workspace_in(folder);
        let room = folder.join(VIEW);
        let view = View::open(Strategy::Copy, &at, &stack, &room, &*task.contents)?;
        user.own(&room).map_err(writing)?;
        for file in &order.captured {
            let put = task.captured.put(file);
            put.map_err(|error| wrong(file.path.clone(), error.to_string()))?;
        }
        user.own(task.captured.folder()).map_err(writing)?;
        let shown = Shown { root: view.root().to_owned(), view: Mutex::new(Some(view)), user, handed };
        Ok(Self { trees, base, exclude, shown: Arc::new(shown) })
    }

    /// The files as the attempt's processes find them, and this one.
    pub(crate) fn seen(&self) -> AttemptFiles {
        AttemptFiles::in_view(&self.shown.root, self.shown.clone())
    }

    /// Finds what changed, keeps it, and gives the tree that was left. No process is at work any more.
    pub(crate) fn close(
        self,
        task: &Task,
        declared: BTreeSet<TreePath>,
        bounds: Bounds,
    ) -> Result<Digest, WorkspaceError> {
        let view = self.shown.view.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut view) = view else { return Ok(self.base.to_core()) };
        let outside = |path: &TreePath| {
            path.as_bytes().starts_with(STAGE_PREFIX.as_bytes())
                || self.exclude.as_ref().is_some_and(|exclude| exclude.contains(path))
        };
        let mut layer = view.capture(&outside, bounds)?;
        if !layer.is_empty() {
            Marks::new(view.root(), view.root(), declared).mark(&mut layer);
            view.keep(&layer, &*task.contents)?;
        }
        Ok(self.trees.grow(self.base, layer)?.to_core())
    }
}

impl FileView for Shown {
    fn root(&self) -> &Path {
        &self.root
    }

    fn place(&self, command: &mut Command, folder: &Path) -> io::Result<()> {
        for handed in &self.handed {
            self.user.own(handed)?;
        }
        self.user.be(command);
        command.current_dir(self.root.join(folder));
        Ok(())
    }
}
