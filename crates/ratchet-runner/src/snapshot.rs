//! Which files of a workspace changed while an agent worked: by what the system says of each file, without reading any.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Folders whose content is nobody's work.
const PASSED_OVER: [&str; 5] = [".git", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"];

/// The plain files of a workspace at one moment. Links and what lies behind them are none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<String, Stamp>);

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
    /// The files below a root as they are now.
    pub(crate) fn of(root: &Path) -> io::Result<Self> {
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
                    files.insert(text.to_owned(), stamp);
                }
            }
        }
        Ok(Self(files))
    }

    /// What changed from this one to a later one, by path.
    pub(crate) fn changes(&self, later: &Self) -> BTreeMap<String, Change> {
        let deleted =
            self.0.keys().filter(|path| !later.0.contains_key(*path)).map(|path| (path.clone(), Change::Deleted));
        let written = later.0.iter().filter(|(path, stamp)| self.0.get(*path) != Some(stamp));
        deleted.chain(written.map(|(path, _)| (path.clone(), Change::Written))).collect()
    }
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
        for name in ["same", "gone", "src/edited", "src/mode", "src/.git/config"] {
            fs::write(root.join(name), "as it was").unwrap();
        }
        symlink("/etc", root.join("link")).unwrap();
        let before = Snapshot::of(root).unwrap();
        assert!(before.changes(&Snapshot::of(root).unwrap()).is_empty());
        fs::remove_file(root.join("gone")).unwrap();
        fs::write(root.join("src/edited"), "another").unwrap();
        fs::set_permissions(root.join("src/mode"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("new"), "").unwrap();
        fs::write(root.join("src/.git/config"), "none of our business").unwrap();
        let changes = before.changes(&Snapshot::of(root).unwrap());
        let changes: Vec<_> = changes.iter().map(|(path, change)| (path.as_str(), *change)).collect();
        assert_eq!(changes, [("gone", Deleted), ("new", Written), ("src/edited", Written), ("src/mode", Written)]);
    }
}
