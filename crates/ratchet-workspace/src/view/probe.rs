//! What kind of view this machine gives.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use super::{Bounds, Stack, Strategy, View};
use crate::{
    contents::Contents, digest::ContentDigest, disk::remove_tree, error::WorkspaceError, kept::Keeper, path::TreePath,
};

/// What a machine gives, and why not more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The best that works.
    pub strategy: Strategy,
    /// What was tried before, and what the system said.
    pub refused: Vec<(Strategy, String)>,
}

/// Tries what the machine gives for views of which all lies in one folder: it depends on the kernel, on the rights of this user and on the file system there.
pub fn probe(folder: &Path) -> Probe {
    let mut refused = Vec::new();
    for strategy in [Strategy::Overlay, Strategy::BoundCopy] {
        match attempt(strategy, folder) {
            Ok(()) => return Probe { strategy, refused },
            Err(error) => refused.push((strategy, error.to_string())),
        }
    }
    Probe { strategy: Strategy::Copy, refused }
}

/// Makes a small view, changes something in it, and looks whether that is found and the directory is as it was.
fn attempt(strategy: Strategy, folder: &Path) -> Result<(), WorkspaceError> {
    let own = tempfile::Builder::new()
        .prefix(".view-")
        .tempdir_in(folder)
        .map_err(|error| WorkspaceError::writing(folder, error))?;
    let failed = |error| WorkspaceError::writing(own.path(), error);
    let source = own.path().join("source");
    fs::create_dir_all(source.join("folder")).map_err(failed)?;
    for name in ["changed", "removed", "folder/inner"] {
        fs::write(source.join(name), name).map_err(failed)?;
    }
    let kept = Keeper::new(own.path().join("kept"), strategy.holes()).keep(&source, &|_| false)?;
    let room = own.path().join("room");
    let mut view = View::open(strategy, &source, &Stack::new(Arc::new(kept)), &room, &Nothing)?;
    let change = || {
        fs::write(view.root().join("changed"), "otherwise")?;
        fs::remove_file(view.root().join("removed"))?;
        fs::remove_dir_all(view.root().join("folder"))?;
        fs::create_dir(view.root().join("folder"))
    };
    change().map_err(failed)?;
    let found: BTreeSet<_> = view.capture(&|_| false, Bounds::NONE)?.iter().map(|(path, _)| path.clone()).collect();
    let expected =
        ["changed", "removed", "folder/inner"].into_iter().filter_map(|name| TreePath::new(name).ok()).collect();
    let is_untouched = fs::read(source.join("changed")).is_ok_and(|content| content == b"changed");
    let removed = view.remove();
    // What is left of a small folder is no reason to do without views.
    drop(removed.and_then(|()| remove_tree(own.path()).map_err(failed)));
    if found == expected && is_untouched {
        Ok(())
    } else {
        Err(WorkspaceError::NoView { reason: format!("changes come out as {found:?}") })
    }
}

struct Nothing;

impl Contents for Nothing {
    fn keep(&self, file: &Path) -> std::io::Result<(ContentDigest, u64)> {
        ContentDigest::of_reader(fs::File::open(file)?)
    }

    fn give(&self, _: ContentDigest, _: &Path) -> std::io::Result<()> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn read(&self, _: ContentDigest) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn has(&self, _: ContentDigest) -> bool {
        false
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<ContentDigest> {
        Ok(ContentDigest::of(bytes))
    }
}
