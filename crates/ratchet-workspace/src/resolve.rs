//! Paths through links of files that are not where they are at home.

use std::{
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{
    manifest::{Entry, Manifest},
    path::TreePath,
};

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;

/// Where a path leads, relative to the root of some files that are at home at `at` and are found below `root` here: the kernel would follow their links as they are
/// for this process. `None` where it leads out; what lies outside is taken as its text says. Folders that are missing are made where `create` says so.
pub fn resolve(at: &Path, root: &Path, path: &Path, create: bool) -> io::Result<Option<PathBuf>> {
    follow(at, path, |inside| {
        let here = root.join(inside);
        let found = match here.symlink_metadata() {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&here)?;
                here.symlink_metadata()?
            }
            other => other?,
        };
        Ok(match found {
            found if found.is_symlink() => Met::Link(here.read_link()?),
            found if found.is_dir() => Met::Folder,
            _ => Met::File,
        })
    })
}

impl Manifest {
    /// Where a path leads in a tree that is at home at `at`, relative to its root. `None` where it leads out.
    pub fn resolve(&self, at: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
        follow(at, path, |inside| {
            let inside = TreePath::new(inside).map_err(|_| io::ErrorKind::NotFound)?;
            Ok(match self.get(&inside).ok_or(io::ErrorKind::NotFound)? {
                Entry::Folder { .. } => Met::Folder,
                Entry::File { .. } => Met::File,
                Entry::Link { target } => Met::Link(target.as_path().to_owned()),
            })
        })
    }
}

/// What lies on the way.
enum Met {
    Folder,
    File,
    Link(PathBuf),
}

/// Follows a path step by step.
fn follow(at: &Path, path: &Path, mut look: impl FnMut(&Path) -> io::Result<Met>) -> io::Result<Option<PathBuf>> {
    let mut open: Vec<OsString> = parts(&at.join(path));
    let (mut now, mut links) = (PathBuf::new(), 0);
    while let Some(part) = open.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => now = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(now.pop()),
            Some(Component::Normal(name)) => now.push(name),
            _ => {}
        }
        let Ok(inside) = now.strip_prefix(at) else { continue };
        if inside.as_os_str().is_empty() {
            continue;
        }
        match look(inside)? {
            Met::Link(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                now.pop();
                open.extend(parts(&target));
            }
            Met::File if !open.is_empty() => return Err(io::ErrorKind::NotADirectory.into()),
            Met::Folder | Met::File => {}
        }
    }
    Ok(now.strip_prefix(at).ok().map(Path::to_owned))
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let mut parts: Vec<_> = path.components().map(|component| component.as_os_str().to_owned()).collect();
    parts.reverse();
    parts
}
