//! The folder of this engine's scratch: the home and temporary folders of commands while they run.
//!
//! It is the engine's and not each run's, because making and removing folders takes as long as a small step does. It is locked as long as its engine
//! lives, and what belongs to none that lives is removed by the next engine that needs scratch.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::{
    directory::{self, StateDirectory},
    lock::is_the_file_at,
    workspace::remove_tree,
};

/// How often another name is tried where somebody took the new folder for an abandoned one: between its making and its locking.
const TRIES: u32 = 16;

/// A folder that no other engine uses. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes a folder, and has those removed, behind this, that engines left which are gone.
    pub(crate) fn make(state: &StateDirectory) -> io::Result<Self> {
        let root = state.scratch();
        directory::create(&root)?;
        let abandoned = abandoned(&root)?;
        if !abandoned.is_empty() {
            // What they hold may be large. Where this process ends before it is done, the next one goes on.
            thread::Builder::new()
                .name("scratch".to_owned())
                .spawn(move || abandoned.iter().for_each(Abandoned::remove))?;
        }
        for _ in 0..TRIES {
            let folder = tempfile::Builder::new().prefix("").tempdir_in(&root)?;
            match lock(folder.path()) {
                Ok(Some(lock)) => return Ok(Self { folder, _lock: lock }),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("others remove what is made there"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Whether a path leads into the scratch of an engine that is gone.
pub(crate) fn is_abandoned(state: &StateDirectory, path: &Path) -> bool {
    let root = state.scratch();
    let Some(name) = path.strip_prefix(&root).ok().and_then(|rest| rest.components().next()) else { return false };
    match lock(&root.join(name)) {
        Ok(lock) => lock.is_some(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The folder of an engine that is gone, held so that nobody else removes it too.
struct Abandoned {
    path: PathBuf,
    _lock: File,
}

impl Abandoned {
    fn remove(&self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::debug!(%error, folder = %self.path.display(), "what an engine left stays until the next one");
        }
    }
}

fn abandoned(root: &Path) -> io::Result<Vec<Abandoned>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if let Ok(Some(lock)) = lock(&path) {
            found.push(Abandoned { path, _lock: lock });
        }
    }
    Ok(found)
}

/// The lock of a folder; `None` where an engine holds it, or another folder is there by now.
///
/// # Errors
/// That of opening it, where it is gone.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = File::open(folder)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file).filter(|file| is_the_file_at(file, folder))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_that_is_gone_left_is_removed_and_what_one_has_that_lives_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        let left = state.scratch().join("left");
        fs::create_dir_all(left.join("0/home")).unwrap();
        fs::write(left.join("0/home/.profile"), "exit").unwrap();
        let living = Scratch::make(&state).unwrap();
        let home = living.path().join("0/home");
        fs::create_dir_all(&home).unwrap();
        while left.exists() {
            thread::yield_now();
        }
        let next = Scratch::make(&state).unwrap();
        assert!(home.exists() && next.path() != living.path());
        for (path, expected) in [
            (home.clone(), false),
            (left.join("0/home"), true),
            (state.executions().join("run"), false),
            (state.scratch(), false),
        ] {
            assert_eq!(is_abandoned(&state, &path), expected, "{}", path.display());
        }
        drop(living);
        assert!(!home.exists() && is_abandoned(&state, &home));
        drop(next);
        assert_eq!(fs::read_dir(state.scratch()).unwrap().count(), 0);
    }

    #[test]
    fn engines_that_start_at_once_each_have_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(folder.path()).unwrap();
        thread::scope(|engines| {
            for _ in 0..4 {
                engines.spawn(|| {
                    for _ in 0..500 {
                        let scratch = Scratch::make(&state).unwrap();
                        assert!(scratch.path().is_dir());
                    }
                });
            }
        });
    }
}
