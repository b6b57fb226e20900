//! The contents of a run's trees.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use ratchet_workspace::{ContentDigest, Contents, Entry, Kept, WorkspaceError};

use crate::blob_store::LocalBlobStore;

/// The contents that steps made, and those that the run began with: a run that goes back to how it began needs these too.
pub(super) struct WithSource<'a> {
    pub(super) blobs: &'a LocalBlobStore,
    pub(super) kept: &'a Kept,
}

impl WithSource<'_> {
    /// Where a content lies that the run began with.
    fn kept(&self, digest: ContentDigest) -> Option<PathBuf> {
        let has = |entry: &Entry| entry.content().is_some_and(|(content, _)| content == digest);
        self.kept.manifest.iter().find(|(_, entry)| has(entry)).and_then(|(path, _)| self.kept.locate(path))
    }
}

impl Contents for WithSource<'_> {
    fn keep(&self, file: &Path) -> io::Result<(ContentDigest, u64)> {
        self.blobs.keep(file)
    }

    fn keep_all(&self, files: &[PathBuf]) -> Result<Vec<(ContentDigest, u64)>, WorkspaceError> {
        self.blobs.keep_all(files)
    }

    fn give(&self, digest: ContentDigest, to: &Path) -> io::Result<()> {
        let Err(error) = self.blobs.give(digest, to) else { return Ok(()) };
        let Some(kept) = self.kept(digest).filter(|_| error.kind() == io::ErrorKind::NotFound) else {
            return Err(error);
        };
        fs::copy(kept, to)?;
        if ContentDigest::of_reader(File::open(to)?)?.0 == digest { Ok(()) } else { Err(error) }
    }

    fn read(&self, digest: ContentDigest) -> io::Result<Vec<u8>> {
        let read = Contents::read(self.blobs, digest);
        let Err(error) = &read else { return read };
        let Some(kept) = self.kept(digest).filter(|_| error.kind() == io::ErrorKind::NotFound) else { return read };
        let content = fs::read(kept)?;
        if ContentDigest::of(&content) == digest { Ok(content) } else { read }
    }

    fn has(&self, digest: ContentDigest) -> bool {
        self.blobs.has(digest)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<ContentDigest> {
        self.blobs.write(bytes)
    }
}
