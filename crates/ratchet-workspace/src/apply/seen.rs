//! What was seen at a path of the user's directory: enough to know it again without reading it.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rustix::{
    fs::{AtFlags, CWD, statat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::WorkspaceError,
    manifest::{Entry, MODE_BITS},
    path::LinkTarget,
    scan::{Item, read_one},
    stamp::Stamp,
};

/// A file, folder or link as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) kind: Kind,
    /// Its permissions; of a link, nothing.
    pub(super) mode: u32,
    pub(super) stamp: Stamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Folder,
    File,
    Link(LinkTarget),
    /// A socket, a pipe or a device: nothing that a run could have made or may replace.
    Other,
}

/// Whether it says that nothing lies at a path: also where what should be a folder above it is a file, or a link that leads to itself.
pub(super) fn is_absent(error: &io::Error) -> bool {
    let is_loop = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    is_loop || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Seen {
    /// What lies at a path, if anything does.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other?,
        };
        let stamp = Stamp::of(&statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?);
        let (kind, mode) = if metadata.is_dir() {
            (Kind::Folder, metadata.mode() & MODE_BITS)
        } else if metadata.is_file() {
            (Kind::File, metadata.mode() & MODE_BITS)
        } else if metadata.is_symlink() {
            (Kind::Link(LinkTarget::new(fs::read_link(path)?)), 0)
        } else {
            (Kind::Other, 0)
        };
        Ok(Some(Self { kind, mode, stamp }))
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// Whether it is what was seen before, though it may have been renamed since.
    pub(super) fn is(&self, before: &Self) -> bool {
        self.kind == before.kind && self.mode == before.mode && self.stamp.is_same_content(&before.stamp)
    }

    /// Whether it is an entry of a manifest. A file is read where that alone can tell; a folder is one whatever its permissions.
    pub(super) fn is_entry(&self, path: &Path, entry: &Entry) -> Result<bool, WorkspaceError> {
        Ok(match (&self.kind, entry) {
            (Kind::Folder, Entry::Folder { .. }) => true,
            (Kind::Link(now), Entry::Link { target }) => now == target,
            (Kind::File, Entry::File { mode, size, digest }) if self.mode == *mode && self.stamp.size == *size => {
                matches!(read_one(path)?, Item::File { digest: Some(now), .. } if now == *digest)
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lies_below_a_file_or_a_link_that_leads_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        for path in ["none", "file/below", "loop/below", "loop/below/that"] {
            assert_eq!(Seen::at(&folder.path().join(path)).unwrap(), None, "{path}");
        }
        assert!(Seen::at(&folder.path().join("loop")).unwrap().is_some(), "the link itself is there");
    }
}
