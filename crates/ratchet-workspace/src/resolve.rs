//! Paths through links of files that are not where they are at home.

use std::{
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;

/// Where a path leads, relative to the root of some files that are at home at `at` and are found below `root` here: the kernel would follow their links as they are
/// for this process. `None` where it leads out; what lies outside is taken as its text says. Folders that are missing are made where `create` says so.
pub fn resolve(at: &Path, root: &Path, path: &Path, create: bool) -> io::Result<Option<PathBuf>> {
    let given = at.join(path);
    let mut open: Vec<OsString> = parts(&given);
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
        let here = root.join(inside);
        let found = match here.symlink_metadata() {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&here)?;
                here.symlink_metadata()?
            }
            other => other?,
        };
        if found.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                return Err(rustix::io::Errno::LOOP.into());
            }
            now.pop();
            open.extend(parts(&here.read_link()?));
        } else if !found.is_dir() && !open.is_empty() {
            return Err(io::ErrorKind::NotADirectory.into());
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
