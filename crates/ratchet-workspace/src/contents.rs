//! Where the contents of files live: the seam to whatever keeps blobs.

use std::{
    fs::{File, FileTimes, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use rustix::fs::fstat;

use crate::{
    digest::{ContentDigest, Hashing},
    error::WorkspaceError,
    manifest::{Entry, MODE_BITS},
    scan::{in_parallel_each, open_file},
    stamp::Stamp,
};

/// Keeps contents by their digest.
///
/// It is a trait of this crate and not the engine's port: trees are read by threads that wait for disks, not by tasks, and the runner of another machine keeps
/// contents elsewhere. Each adapter is a few lines over the port.
pub trait Contents: Send + Sync {
    /// Keeps a file's content and says what it read. What is there already stays as it is.
    fn keep(&self, file: &Path) -> io::Result<(ContentDigest, u64)>;

    /// Keeps the contents of several files and says what it read of each, in their order. When it returns, all of them outlive a power loss.
    fn keep_all(&self, files: &[PathBuf]) -> Result<Vec<(ContentDigest, u64)>, WorkspaceError> {
        in_parallel_each(files, |file| self.keep(file).map_err(|error| WorkspaceError::writing(file, error)))
    }

    /// Writes the content of a digest to a path where nothing is. A content that is damaged is an error.
    fn give(&self, digest: ContentDigest, to: &Path) -> io::Result<()>;

    /// The content of a digest, which is small. One that is damaged is an error.
    fn read(&self, digest: ContentDigest) -> io::Result<Vec<u8>>;

    /// Whether the content of a digest is there. It is not read; it counts as put now.
    fn has(&self, digest: ContentDigest) -> bool;

    /// Keeps some bytes.
    fn write(&self, bytes: &[u8]) -> io::Result<ContentDigest>;
}

/// How often a file that changes while it is copied is copied again.
const COPIES: usize = 5;

/// Copies files, sharing their blocks where the file system can.
#[derive(Debug, Default)]
pub(crate) struct Copier {
    cannot_share: AtomicBool,
}

/// What was copied: the file as it was from the first byte to the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied {
    pub(crate) mode: u32,
    pub(crate) stamp: Stamp,
    pub(crate) digest: ContentDigest,
}

impl Copier {
    /// Copies a file to a path where nothing is, with its mode and time, and digests it. `None` where there is no file any more.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> Result<Option<Copied>, WorkspaceError> {
        for _ in 0..COPIES {
            let Some((source, before)) = open_file(from).map_err(|error| WorkspaceError::reading(from, error))? else {
                return Ok(None);
            };
            let stamp = Stamp::of(&before);
            let mode = before.st_mode & MODE_BITS;
            let (digest, size) = self.transfer(&source, to).map_err(|error| WorkspaceError::writing(to, error))?;
            finish(to, mode, stamp.modified).map_err(|error| WorkspaceError::writing(to, error))?;
            let after = fstat(&source).map_err(|error| WorkspaceError::reading(from, error.into()))?;
            if Stamp::of(&after) == stamp && stamp.size == size {
                return Ok(Some(Copied { mode, stamp, digest }));
            }
            std::fs::remove_file(to).map_err(|error| WorkspaceError::writing(to, error))?;
        }
        Err(WorkspaceError::Changing { path: from.to_owned() })
    }

    fn transfer(&self, source: &File, to: &Path) -> io::Result<(ContentDigest, u64)> {
        let target = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(to)?;
        if !self.cannot_share.load(Ordering::Relaxed) {
            if rustix::fs::ioctl_ficlone(&target, source).is_ok() {
                return ContentDigest::of_reader(target);
            }
            self.cannot_share.store(true, Ordering::Relaxed);
        }
        let mut hashing = Hashing::new(target);
        let mut source = source;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            use std::io::{Read, Write};
            match source.read(&mut buffer) {
                Ok(0) => return Ok(hashing.finish()),
                Ok(count) => hashing.write_all(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Writes the content of an entry to a path where nothing is, with its mode.
pub(crate) fn give(contents: &dyn Contents, entry: &Entry, to: &Path) -> Result<(), WorkspaceError> {
    let Entry::File { mode, digest, .. } = entry else { return Ok(()) };
    let failed = |error| WorkspaceError::writing(to, error);
    contents.give(*digest, to).map_err(failed)?;
    std::fs::set_permissions(to, Permissions::from_mode(*mode)).map_err(failed)
}

fn finish(file: &Path, mode: u32, modified: i64) -> io::Result<()> {
    let modified = UNIX_EPOCH + Duration::from_nanos(u64::try_from(modified).unwrap_or_default());
    let file = OpenOptions::new().write(true).open(file)?;
    file.set_times(FileTimes::new().set_modified(modified))?;
    file.set_permissions(Permissions::from_mode(mode))
}
