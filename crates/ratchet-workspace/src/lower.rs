//! A layer as a folder that the kernel lays under a view: what is added or changed lies in it, and what is gone is a device that stands for nothing.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lsetxattr, mknodat},
    io::Errno,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::WorkspaceError,
    layer::{Change, Layer},
    manifest::{Entry, Manifest},
    path::TreePath,
};

const OPAQUE: &str = "user.overlay.opaque";

/// Whether a tree says what is gone in it: the kernel needs that, and a copy does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holes {
    /// It does.
    #[default]
    Told,
    /// It does not: the manifest alone does.
    Untold,
}

/// Puts the file of a path where it belongs.
pub(crate) type PlaceFile<'a> = &'a mut dyn FnMut(&TreePath, &Entry, &Path) -> Result<(), WorkspaceError>;

/// Writes a layer over `before` into a new folder. `after` is the tree that it leads to.
pub(crate) fn write(
    folder: &Path,
    holes: Holes,
    layer: &Layer,
    after: &Manifest,
    place: PlaceFile<'_>,
) -> Result<(), WorkspaceError> {
    make_folder(folder).map_err(|error| WorkspaceError::writing(folder, error))?;
    let mut folders: Vec<(PathBuf, u32)> = Vec::new();
    let mut made: Vec<TreePath> = Vec::new();
    for (path, change) in layer {
        // A folder that is gone hides what was in it.
        if change.after.is_none() && (holes == Holes::Untold || !is_reachable(path, after)) {
            continue;
        }
        let absolute = folder.join(path.as_path());
        let failed = |error| WorkspaceError::writing(&absolute, error);
        make_above(folder, path, after, &mut made, &mut folders)?;
        match &change.after {
            None => white_out(&absolute).map_err(failed)?,
            Some(Entry::Link { target }) => symlink(target.as_path(), &absolute).map_err(failed)?,
            Some(entry @ Entry::File { .. }) => place(path, entry, &absolute)?,
            Some(Entry::Folder { mode }) => {
                make_folder(&absolute).map_err(failed)?;
                made.push(path.clone());
                folders.push((absolute.clone(), *mode));
                if holes == Holes::Told && change.before.as_ref().is_some_and(|before| !before.is_folder()) {
                    lsetxattr(&absolute, OPAQUE, b"y", XattrFlags::empty()).map_err(|error| failed(error.into()))?;
                }
            }
        }
    }
    // A folder is closed once everything is in it.
    for (folder, mode) in folders.into_iter().rev() {
        fs::set_permissions(&folder, Permissions::from_mode(mode))
            .map_err(|error| WorkspaceError::writing(&folder, error))?;
    }
    Ok(())
}

/// Whether the folder that a path lies in is there.
fn is_reachable(path: &TreePath, tree: &Manifest) -> bool {
    path.parent().is_none_or(|parent| tree.get(&parent).is_some_and(Entry::is_folder))
}

fn make_above(
    root: &Path,
    path: &TreePath,
    after: &Manifest,
    made: &mut Vec<TreePath>,
    folders: &mut Vec<(PathBuf, u32)>,
) -> Result<(), WorkspaceError> {
    let above: Vec<_> = path.ancestors().take_while(|folder| !is_made(made, folder)).collect();
    for folder in above.into_iter().rev() {
        let absolute = root.join(folder.as_path());
        make_folder(&absolute).map_err(|error| WorkspaceError::writing(&absolute, error))?;
        // The topmost folder of a name gives the view its permissions.
        let mode = match after.get(&folder) {
            Some(Entry::Folder { mode }) => *mode,
            _ => 0o755,
        };
        folders.push((absolute, mode));
        made.push(folder);
    }
    Ok(())
}

/// Paths come in order, so that folders are made in order.
fn is_made(made: &[TreePath], folder: &TreePath) -> bool {
    made.binary_search(folder).is_ok()
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn white_out(path: &Path) -> io::Result<()> {
    Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0)?)
}

/// Whether a folder of a view's changes hides what lies under it.
pub(crate) fn is_opaque(folder: &Path) -> io::Result<bool> {
    let mut value = [0; 1];
    match lgetxattr(folder, OPAQUE, &mut value[..]) {
        Ok(length) => Ok(length == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Adds that something and all that lay in it is gone.
pub(crate) fn remove_below(layer: &mut Layer, base: &Manifest, folder: &TreePath, is_kept: impl Fn(&TreePath) -> bool) {
    for (path, entry) in base.below(folder) {
        if !is_kept(path) {
            let change = Change { before: Some(entry.clone()), after: None, mark: crate::layer::Mark::Plain };
            layer.insert(path.clone(), change);
        }
    }
}
