//! The home and the temporary folder of a command's processes.
//!
//! Making and removing two folders costs as much as starting a small program, so a pair that its attempt left as it found it is the next attempt's. What an attempt
//! changed about them is never seen by another: they are made anew then. Whether it did is told by when the folders were changed last, and while that is too short ago to
//! tell, by looking into them.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::fs::{Dir, Mode, OFlags};

/// The two folders of a pair.
const FOLDERS: [&str; 2] = ["home", "tmp"];

/// What every folder is made with, and told by when it was left alone.
const MODE: u32 = 0o700;

/// All pairs that this process made, by the folder that they lie in.
#[derive(Debug, Default)]
pub(crate) struct ScratchPool(Mutex<HashMap<PathBuf, Pairs>>);

#[derive(Debug, Default)]
struct Pairs {
    free: Vec<Free>,
    made: u32,
}

/// A pair that nobody uses.
#[derive(Debug)]
struct Free {
    number: u32,
    known: Known,
}

/// What a pair was like that was made or found empty.
#[derive(Debug, Clone, Copy)]
struct Known {
    stamps: [Stamp; 2],
    /// When that was seen first.
    since: Instant,
}

/// How long a folder has not changed before its stamp tells whether it changes: longer than between two ticks of any clock that file systems go by.
const SETTLED: Duration = Duration::from_millis(100);

impl Known {
    fn of(folders: &[PathBuf; 2]) -> io::Result<Self> {
        let stamps = [Stamp::of(&folders[0])?, Stamp::of(&folders[1])?];
        Ok(Self { stamps, since: Instant::now() })
    }

    /// Whether whoever uses the pair from now on cannot change it without its stamps changing.
    fn is_settled(&self) -> bool {
        self.since.elapsed() >= SETTLED && self.stamps.iter().all(Stamp::is_fine)
    }
}

/// What changes whenever a folder or what is in it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(folder: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(folder)?;
        Ok(Self { file: (found.dev(), found.ino()), changed: (found.ctime(), found.ctime_nsec()) })
    }

    /// Whether the file system counts finer than whole milliseconds: else two changes may be of one time.
    fn is_fine(&self) -> bool {
        self.changed.1 % 1_000_000 != 0
    }
}

/// A pair for one attempt: two folders that are empty and its owner's alone. Where it is not given back, no other attempt gets it.
#[derive(Debug)]
pub(crate) struct Scratch {
    root: PathBuf,
    number: u32,
    /// What it was like before, and whether that tells if it was changed.
    known: Known,
    is_settled: bool,
}

impl ScratchPool {
    /// A pair below `root`.
    pub(crate) fn take(&self, root: &Path) -> io::Result<Scratch> {
        let free = {
            let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let pairs = pools.entry(root.to_owned()).or_default();
            pairs.free.pop().ok_or_else(|| {
                pairs.made += 1;
                pairs.made - 1
            })
        };
        match free {
            Ok(Free { number, known }) => {
                Ok(Scratch { root: root.to_owned(), number, known, is_settled: known.is_settled() })
            }
            Err(number) => {
                let folder = root.join(number.to_string());
                // An engine that was killed may have left a pair of this number behind.
                remove(&folder)?;
                let folders = FOLDERS.map(|name| folder.join(name));
                folders.iter().try_for_each(|folder| make(folder))?;
                Ok(Scratch { root: root.to_owned(), number, known: Known::of(&folders)?, is_settled: false })
            }
        }
    }

    /// Takes a pair back whose attempt has ended and whose processes are gone.
    pub(crate) fn give_back(&self, scratch: Scratch) -> io::Result<()> {
        let folders = FOLDERS.map(|name| scratch.folder().join(name));
        let is_known = |now: &Known| now.stamps == scratch.known.stamps;
        let mut known = scratch.known;
        if !(scratch.is_settled && Known::of(&folders).is_ok_and(|now| is_known(&now))) {
            for folder in &folders {
                if !is_untouched(folder) {
                    remove(folder)?;
                    make(folder)?;
                }
            }
            let now = Known::of(&folders)?;
            if !is_known(&now) {
                known = now;
            }
        }
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pools.entry(scratch.root).or_default().free.push(Free { number: scratch.number, known });
        Ok(())
    }
}

impl Scratch {
    /// What HOME names.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    /// What TMPDIR names.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder().join("tmp")
    }

    /// Moves what an attempt left into a folder of its own, where a person may look at it.
    pub(crate) fn keep_in(self, directory: &Path) -> io::Result<()> {
        for name in FOLDERS {
            fs::rename(self.folder().join(name), directory.join(name))?;
        }
        fs::remove_dir(self.folder())
    }

    fn folder(&self) -> PathBuf {
        self.root.join(self.number.to_string())
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE).create(folder)
}

/// Whether a folder is as it was made: a folder, empty, its owner's alone.
fn is_untouched(folder: &Path) -> bool {
    let is_ours =
        fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o7777 == MODE);
    is_ours && is_empty(folder).unwrap_or(false)
}

/// Read without leaving a mark: to note the time of a read, the file system would wait for its journal.
fn is_empty(folder: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::CLOEXEC;
    let names = Dir::new(rustix::fs::open(folder, flags, Mode::empty())?)?;
    for name in names {
        if !matches!(name?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes whatever is there: a folder with all that is in it, or what was put in its place.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_one_attempt_does_to_its_folders_no_other_sees() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("scratch");
        let outside = place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        let pool = ScratchPool::default();
        let tricks: [&dyn Fn(&Path); 6] = [
            &|_| {},
            &|home| fs::write(home.join(".profile"), "exit").unwrap(),
            &|home| fs::set_permissions(home, fs::Permissions::from_mode(0o500)).unwrap(),
            &|home| fs::remove_dir(home).unwrap(),
            &|home| {
                fs::remove_dir(home).unwrap();
                symlink(&outside, home).unwrap();
            },
            &|home| {
                fs::remove_dir(home).unwrap();
                fs::write(home, "").unwrap();
            },
        ];
        let take = |settled: bool| loop {
            let scratch = pool.take(&root).unwrap();
            // A file system that counts in whole milliseconds never tells enough.
            if scratch.is_settled || !settled || !scratch.known.stamps.iter().all(Stamp::is_fine) {
                return scratch;
            }
            pool.give_back(scratch).unwrap();
            std::thread::yield_now();
        };
        for (trick, settled) in tricks.into_iter().flat_map(|trick| [false, true].map(|settled| (trick, settled))) {
            let (first, second) = (take(settled), take(settled));
            assert_ne!(first.home(), second.home());
            trick(&first.home());
            trick(&first.temporary());
            pool.give_back(first).unwrap();
            pool.give_back(second).unwrap();
            let next = pool.take(&root).unwrap();
            assert!(is_untouched(&next.home()) && is_untouched(&next.temporary()));
            pool.give_back(next).unwrap();
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2, "pairs are used again");
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn what_is_kept_is_not_used_again_and_leavings_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let (root, directory) = (place.path().join("scratch"), place.path().join("attempt"));
        fs::create_dir(&directory).unwrap();
        let scratch = ScratchPool::default().take(&root).unwrap();
        fs::write(scratch.home().join("note"), "left by an engine that died").unwrap();
        let scratch = ScratchPool::default().take(&root).unwrap();
        assert!(is_untouched(&scratch.home()));
        fs::write(scratch.home().join("note"), "").unwrap();
        scratch.keep_in(&directory).unwrap();
        assert!(directory.join("home/note").exists() && directory.join("tmp").exists());
        assert!(is_untouched(&ScratchPool::default().take(&root).unwrap().home()));
    }
}
