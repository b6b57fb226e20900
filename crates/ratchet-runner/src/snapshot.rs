//! Which files of a workspace changed while an agent worked: by what the system says of each file, and of those that it says were written by their content, as
//! far as that is known from before.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ratchet_core::history::sha256_hex;

/// Folders whose content is nobody's work.
const PASSED_OVER: [&str; 5] = [".git", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"];

/// The longest file in bytes whose content is looked at, and of all of them together: reading these takes less than starting an agent does.
const FILE_BYTES_MAX: u64 = 1 << 20;
const ALL_BYTES_MAX: u64 = 32 << 20;

/// The plain files of a workspace at one moment. Links and what lies behind them are none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<String, Seen>);

/// A file at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    stamp: Stamp,
    /// The digest of its content, where it was read.
    content: Option<String>,
}

/// What changes whenever a file's content or mode does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new, or has another content or mode.
    Written,
    /// It is gone.
    Deleted,
}

impl Snapshot {
    /// The files below a root before the work, with their content as far as it is quickly read.
    pub(crate) fn before(root: &Path) -> io::Result<Self> {
        let mut left = ALL_BYTES_MAX;
        Self::of(root, |path, stamp| {
            if stamp.size > FILE_BYTES_MAX.min(left) {
                return None;
            }
            left -= stamp.size;
            digest(path)
        })
    }

    /// The files below a root after the work. The content of those is read that seem to have changed and were read before.
    fn after(&self, root: &Path) -> io::Result<Self> {
        Self::of(root, |path, stamp| {
            let name = path.strip_prefix(root).ok().and_then(Path::to_str)?;
            let before = self.0.get(name).filter(|before| before.content.is_some())?;
            if before.stamp == *stamp {
                return before.content.clone();
            }
            if before.stamp.size == stamp.size { digest(path) } else { None }
        })
    }

    fn of(root: &Path, mut content: impl FnMut(&Path, &Stamp) -> Option<String>) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let name = entry.file_name();
                let path = folder.join(&name);
                // What vanishes while the walk goes on was never there; what has no readable name can be in no recording.
                let (Ok(found), Some(text)) = (entry.metadata(), path.to_str()) else { continue };
                if found.is_dir() && !PASSED_OVER.iter().any(|passed| name == *passed) {
                    folders.push(path);
                } else if found.is_file() {
                    let stamp = Stamp {
                        inode: found.ino(),
                        size: found.size(),
                        mode: found.mode(),
                        modified: (found.mtime(), found.mtime_nsec()),
                        changed: (found.ctime(), found.ctime_nsec()),
                    };
                    let content = content(&root.join(&path), &stamp);
                    files.insert(text.to_owned(), Seen { stamp, content });
                }
            }
        }
        Ok(Self(files))
    }

    /// What changed since this one, by path.
    pub(crate) fn changes_in(&self, root: &Path) -> io::Result<BTreeMap<String, Change>> {
        Ok(self.changes(&self.after(root)?))
    }

    /// Where nothing can be read any more, all that was there counts as changed.
    pub(crate) fn all_gone(&self) -> BTreeMap<String, Change> {
        self.changes(&Self::default())
    }

    fn changes(&self, later: &Self) -> BTreeMap<String, Change> {
        let deleted =
            self.0.keys().filter(|path| !later.0.contains_key(*path)).map(|path| (path.clone(), Change::Deleted));
        let is_same = |path: &String, seen: &Seen| self.0.get(path).is_some_and(|before| before.is_same(seen));
        let written = later.0.iter().filter(|(path, seen)| !is_same(path, seen));
        deleted.chain(written.map(|(path, _)| (path.clone(), Change::Written))).collect()
    }
}

impl Seen {
    /// Whether the file still has the content and the mode that it had.
    fn is_same(&self, later: &Self) -> bool {
        let same_content = self.content.is_some() && self.content == later.content;
        self.stamp == later.stamp || (same_content && self.stamp.mode == later.stamp.mode)
    }
}

/// What cannot be read has no content to compare.
fn digest(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|content| sha256_hex(&content))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::{
        Change::{Deleted, Written},
        *,
    };

    #[test]
    fn every_change_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("src/.git")).unwrap();
        for name in ["same", "again", "gone", "src/edited", "src/longer", "src/mode", "src/.git/config"] {
            fs::write(root.join(name), "as it was").unwrap();
        }
        symlink("/etc", root.join("link")).unwrap();
        fs::write(root.join("large"), vec![b'x'; 1 << 21]).unwrap();
        let before = Snapshot::before(root).unwrap();
        assert!(before.changes_in(root).unwrap().is_empty());
        // Written again with what it held: a person would say that it is as it was. What is too large to read counts as changed.
        fs::remove_file(root.join("again")).unwrap();
        fs::write(root.join("again"), "as it was").unwrap();
        fs::write(root.join("large"), vec![b'x'; 1 << 21]).unwrap();
        fs::remove_file(root.join("gone")).unwrap();
        fs::write(root.join("src/edited"), "as it is!").unwrap();
        fs::write(root.join("src/longer"), "as it was, and more").unwrap();
        fs::set_permissions(root.join("src/mode"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("new"), "").unwrap();
        fs::write(root.join("src/.git/config"), "none of our business").unwrap();
        let changes = before.changes_in(root).unwrap();
        let changes: Vec<_> = changes.iter().map(|(path, change)| (path.as_str(), *change)).collect();
        let written = ["large", "new", "src/edited", "src/longer", "src/mode"].map(|path| (path, Written));
        assert_eq!(changes, [&[("gone", Deleted)][..], &written].concat());
    }
}
