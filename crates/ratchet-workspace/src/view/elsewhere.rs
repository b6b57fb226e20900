//! What a tree must not hold to work at another path, and how its links read there.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use super::Stack;
use crate::{
    contents::Contents,
    error::WorkspaceError,
    manifest::{Entry, Manifest},
    path::{LinkTarget, TreePath},
};

/// The links of a tree that lies at another path than its own.
#[derive(Debug)]
pub(super) struct Elsewhere {
    /// The directory's own path.
    at: PathBuf,
    /// Where its copy lies.
    copy: PathBuf,
    /// Links that would name another place there: as they are, and as they are written.
    written: BTreeMap<TreePath, (LinkTarget, LinkTarget)>,
}

impl Elsewhere {
    /// Looks through a tree that is to be copied. What works only at the directory's own path is an error that names it.
    pub(super) fn new(at: &Path, copy: &Path, stack: &Stack, contents: &dyn Contents) -> Result<Self, WorkspaceError> {
        let mut written = BTreeMap::new();
        for (path, entry) in stack.manifest() {
            match entry {
                Entry::Link { target } => {
                    let target_now = target_elsewhere(at, path, target.as_path())?;
                    written.extend(target_now.map(|now| (path.clone(), (target.clone(), now))));
                }
                Entry::File { size, .. } if *size <= NAMING_BYTES_MAX && may_name_its_place(path.as_path()) => {
                    if names(&stack.read(path, entry, contents)?, at) {
                        return Err(WorkspaceError::Bound { path: at.join(path.as_path()) });
                    }
                }
                Entry::File { .. } | Entry::Folder { .. } => {}
            }
        }
        Ok(Self { at: at.to_owned(), copy: copy.to_owned(), written })
    }

    /// The tree as it is written.
    pub(super) fn there(&self, tree: &Manifest) -> Manifest {
        let mut there = tree.clone();
        for (path, (_, target)) in &self.written {
            there.set(path.clone(), Some(Entry::Link { target: target.clone() }));
        }
        there
    }

    /// The tree as it would be at the directory's own path.
    pub(super) fn back(&self, tree: &Manifest) -> Manifest {
        let entry = |path: &TreePath, entry: Entry| match (entry, self.written.get(path)) {
            (Entry::Link { target }, Some((own, written))) if target == *written => Entry::Link { target: own.clone() },
            // A link that was made to a file of the copy is meant for that file of the directory.
            (Entry::Link { target }, _) => match target.as_path().strip_prefix(&self.copy) {
                Ok(inside) => Entry::Link { target: LinkTarget::new(self.at.join(inside)) },
                Err(_) => Entry::Link { target },
            },
            (entry, _) => entry,
        };
        tree.iter().map(|(path, own)| (path.clone(), entry(path, own.clone()))).collect()
    }
}

/// Larger files do not say where an environment lies.
const NAMING_BYTES_MAX: u64 = 1 << 20;

/// Where a link of the copy points, where that must be otherwise: out of the directory it must name the same place as before, and into it by its absolute path
/// it would lead steps back into the user's own files.
fn target_elsewhere(at: &Path, path: &TreePath, target: &Path) -> Result<Option<LinkTarget>, WorkspaceError> {
    let link = at.join(path.as_path());
    if target.is_absolute() {
        let leads_back = lexically_normal(target).starts_with(at);
        return if leads_back { Err(WorkspaceError::Bound { path: link }) } else { Ok(None) };
    }
    let absolute = lexically_normal(&link.parent().unwrap_or(at).join(target));
    Ok((!absolute.starts_with(at)).then(|| LinkTarget::new(absolute)))
}

/// A path without `.` and `..`, as its text says.
fn lexically_normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

/// Whether a file of this name says where a virtual environment or an editable install lies.
fn may_name_its_place(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name == "pyvenv.cfg"
        || name == "direct_url.json"
        || (name == "activate" && path.parent().and_then(Path::file_name) == Some(OsStr::new("bin")))
        || path.extension().is_some_and(|extension| extension == "pth" || extension == "egg-link")
}

/// Whether a text names a path, and not one that only begins like it.
fn names(text: &[u8], path: &Path) -> bool {
    let own = path.as_os_str().as_bytes();
    let ends = |rest: &[u8]| !rest.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    text.windows(own.len()).enumerate().any(|(at, window)| window == own && ends(&text[at + own.len()..]))
}
