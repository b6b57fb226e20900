//! What a run changed in its copy.

use std::{fs, io, path::Path};

use super::{
    manifest::{Entry, Manifest, Side},
    tree::{self, Item, Kind, TreePath},
};
use crate::error::LocalError;

/// One path that is not as it was at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Which.
    pub path: TreePath,
    /// What was there at the start.
    pub before: Option<Entry>,
    /// What is there now.
    pub after: Option<Item>,
}

impl Change {
    /// Whether it is about a folder and nothing else.
    pub(super) fn is_folder(&self) -> bool {
        self.after.as_ref().or(self.before.as_ref().map(|entry| &entry.copy)).is_some_and(Item::is_folder)
    }
}

/// Finds what a run changed, by path.
pub(super) fn changes(manifest: &Manifest, source: &Path, copy: &Path) -> Result<Vec<Change>, LocalError> {
    let failed = |path: &Path, error| LocalError::apply(path, error);
    let mut now = tree::walk(copy, &|_| false).map_err(|(path, error)| failed(&path, error))?;
    let mut changes = Vec::new();
    for (path, entry) in &manifest.entries {
        let after = now.remove(path);
        let absolute = copy.join(path.as_path());
        let same = match &after {
            Some(item) => is_same(entry, item, &absolute, &source.join(path.as_path()))
                .map_err(|error| failed(&absolute, error))?,
            None => false,
        };
        if !same {
            changes.push(Change { path: path.clone(), before: Some(entry.clone()), after });
        }
    }
    changes.extend(now.into_iter().map(|(path, item)| Change { path, before: None, after: Some(item) }));
    changes.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(changes)
}

fn is_same(entry: &Entry, now: &Item, copy: &Path, source: &Path) -> io::Result<bool> {
    if entry.is_unchanged(Side::Copy, copy, now)? {
        return Ok(true);
    }
    let may_be = now.kind == Kind::File
        && (entry.copy.mode, entry.copy.stamp.size) == (now.mode, now.stamp.size)
        && entry.digest.is_none();
    // A large file whose stamp changed: the user's own still is what it was, so it tells.
    Ok(may_be
        && fs::symlink_metadata(source).is_ok_and(|metadata| tree::Stamp::of(&metadata) == entry.source.stamp)
        && tree::is_same_content(copy, source)?)
}
