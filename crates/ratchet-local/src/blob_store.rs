//! Content as files that are named by their SHA-256.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use ratchet_core::{history::hex, ids::Digest, output::BlobRef};
use ratchet_engine::ports::{BlobClass, BlobError, BlobStore, BlobStream, Put, Verified};
use ratchet_workspace::{ContentDigest, Contents, WorkspaceError, in_parallel_each};
use rustix::fs::{FlockOperation, OFlags};
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    task::spawn_blocking,
};

use crate::directory::StateDirectory;

/// Bytes that are read at a time: no content is held in memory for being kept.
const CHUNK: usize = 128 * 1024;

/// How many digests are remembered as put.
const PLACED_MAX: usize = 4096;

/// So many files or folders are written through to the disk by themselves.
const SYNCED_APART_MAX: usize = 16;

/// Content up to so many bytes is looked at again in no time.
const SMALL: usize = 64 * 1024;

/// The blob store of one machine: a folder.
///
/// ```text
/// sha256/ab/cdef…   the content, read only
/// tmp/              content on its way: what a crash leaves here was never a blob
/// lock              held by whoever puts, and by a sweep for itself alone
/// ```
///
/// A blob has its own bytes on the disk: it is never a hard link to a file that somebody may write. Where the file system can share blocks until one side
/// changes, it does.
#[derive(Debug, Clone)]
pub struct LocalBlobStore {
    root: PathBuf,
    /// Another store, of which is read what this one does not have.
    below: Option<PathBuf>,
    /// The digests that this process has put: their folders are on the disk.
    placed: Arc<Mutex<HashSet<String>>>,
}

impl LocalBlobStore {
    /// The store in this folder, which is made when something is put.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), below: None, placed: Arc::default() }
    }

    /// The store of a state directory.
    pub fn of(state: &StateDirectory) -> Self {
        Self { below: state.blobs_below().map(Path::to_owned), ..Self::new(state.blobs()) }
    }

    /// The file of a digest, whether it is there or not; `None` for text that is no digest.
    fn path(&self, digest: &Digest) -> Option<PathBuf> {
        let text = digest.as_str();
        let is_digest = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_digest.then(|| file_in(&self.root, text))
    }

    /// The file of a digest in the store below this one, where it is there and only there.
    fn path_below(&self, own: &Path, digest: &Digest) -> Option<PathBuf> {
        let store = self.below.as_ref().filter(|_| !own.exists())?;
        Some(file_in(store, digest.as_str())).filter(|path| path.exists())
    }

    /// Opens the content of a digest.
    fn open_file(&self, digest: &Digest) -> Result<File, BlobError> {
        let path = self.path(digest).ok_or_else(|| BlobError::NotFound(digest.clone()))?;
        let path = self.path_below(&path, digest).unwrap_or(path);
        File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BlobError::NotFound(digest.clone()),
            _ => refused("read", &path)(source),
        })
    }

    fn put_bytes(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        match self.put_again(bytes, FlockOperation::LockShared) {
            Some(content) => Ok(content),
            None => self.put_from(&mut Source::Bytes(bytes)),
        }
    }

    /// Puts content that was put here before; `None` where it was not, or is not there any more, or its folder cannot be locked.
    fn put_again(&self, bytes: &[u8], lock: FlockOperation) -> Option<BlobRef> {
        let content = BlobRef { digest: Digest::new(hex(&Sha256::digest(bytes))), size: bytes.len() as u64 };
        if !self.placed().contains(content.digest.as_str()) {
            return None;
        }
        let path = self.path(&content.digest)?;
        let _lock = self.lock(lock).ok()?;
        // A sweep may have removed it, or somebody damaged it.
        let mut there = File::open(&path).ok()?;
        let mut found = Vec::with_capacity(bytes.len());
        there.read_to_end(&mut found).ok()?;
        (found == bytes && there.set_modified(SystemTime::now()).is_ok()).then_some(content)
    }

    fn put_from(&self, source: &mut Source<'_>) -> Result<BlobRef, BlobError> {
        let folder = self.root.join("tmp");
        make_folder(&folder)?;
        let _lock = self.lock(FlockOperation::LockShared)?;
        let mut staged = NamedTempFile::new_in(&folder).map_err(refused("write to", &folder))?;
        let content = source.copy_to(staged.as_file_mut(), &folder)?;
        self.place(staged, content).map(|put| put.content)
    }

    /// Puts files whose bytes are written to the disk together: a file at a time costs a wait for the disk each.
    fn put_together(&self, files: &[PathBuf]) -> Result<Vec<BlobRef>, (PathBuf, BlobError)> {
        let folder = self.root.join("tmp");
        let of_all = |error| (folder.clone(), error);
        make_folder(&folder).map_err(of_all)?;
        let _lock = self.lock(FlockOperation::LockShared).map_err(of_all)?;
        let staged = in_parallel_each(files, |file| self.stage(file, &folder).map_err(|error| (file.clone(), error)))?;
        let new: Vec<&Path> = staged.iter().filter_map(|(_, staged)| staged.as_deref()).collect();
        sync_together(&folder, &new).map_err(of_all)?;
        let mut folders = BTreeSet::new();
        let mut kept = Vec::with_capacity(files.len());
        for (content, staged) in staged {
            let path = self.path(&content.digest).ok_or_else(|| of_all(BlobError::NotFound(content.digest.clone())))?;
            if let Some(staged) = staged {
                staged.persist(&path).map_err(|error| of_all(refused("write", &path)(error.error)))?;
            }
            folders.extend(path.parent().map(Path::to_owned));
            kept.push(content);
        }
        let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
        sync_together(&folder, &folders).map_err(of_all)?;
        Ok(kept)
    }

    /// Copies a file to where content is on its way; no copy is left of what is there already. The lock is held.
    fn stage(&self, file: &Path, folder: &Path) -> Result<(BlobRef, Option<TempPath>), BlobError> {
        let mut staged = NamedTempFile::new_in(folder).map_err(refused("write to", folder))?;
        let content = Source::File(&mut open_regular(file)?).copy_to(staged.as_file_mut(), folder)?;
        let path = self.path(&content.digest).ok_or_else(|| BlobError::NotFound(content.digest.clone()))?;
        if is_there(&path, staged.as_file_mut()).map_err(refused("read", &path))? {
            return Ok((content, None));
        }
        make_folder(path.parent().unwrap_or(&self.root))?;
        staged.as_file().set_permissions(Permissions::from_mode(0o444)).map_err(refused("write", &path))?;
        // Closed: so many files cannot all be open.
        Ok((content, Some(staged.into_temp_path())))
    }

    /// Gives a staged file the name of its content, unless that is there. The lock is held.
    fn place(&self, mut staged: NamedTempFile, content: BlobRef) -> Result<Put, BlobError> {
        let path = self.path(&content.digest).ok_or_else(|| BlobError::NotFound(content.digest.clone()))?;
        let is_new = !is_there(&path, staged.as_file_mut()).map_err(refused("read", &path))?;
        if is_new {
            let folder = path.parent().unwrap_or(&self.root);
            make_folder(folder)?;
            let placed = staged
                .as_file()
                .set_permissions(Permissions::from_mode(0o444))
                .and_then(|()| staged.as_file().sync_all());
            placed.map_err(refused("write", &path))?;
            staged.persist(&path).map_err(|error| refused("write", &path)(error.error))?;
        }
        // Also where somebody else has just put it: whoever returns first may be relied upon first.
        sync_folder(path.parent().unwrap_or(&self.root))?;
        let mut placed = self.placed();
        if placed.len() >= PLACED_MAX {
            placed.clear();
        }
        placed.insert(content.digest.as_str().to_owned());
        Ok(Put { content, is_new })
    }

    fn placed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let mut bytes = Vec::new();
        self.open_file(digest)?.read_to_end(&mut bytes).map_err(refused("read", &self.root))?;
        if hex(&Sha256::digest(&bytes)) == digest.as_str() {
            Ok(bytes)
        } else {
            Err(BlobError::Damaged(digest.clone()))
        }
    }

    fn copy_out(&self, digest: &Digest, to: &Path) -> Result<(), BlobError> {
        let mut blob = self.open_file(digest)?;
        let mut target =
            File::options().read(true).write(true).create_new(true).open(to).map_err(refused("write", to))?;
        let copied = Source::File(&mut blob).copy_to(&mut target, to);
        let result = copied
            .and_then(|copied| if copied.digest == *digest { Ok(()) } else { Err(BlobError::Damaged(digest.clone())) });
        if result.is_err() {
            // Half a file must not pass for the content. It was made here; that it cannot be removed changes nothing about the error.
            let _ = fs::remove_file(to);
        }
        result
    }

    /// Counts content as new, which keeps a sweep from it.
    fn renew(&self, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path(digest).ok_or_else(|| BlobError::NotFound(digest.clone()))?;
        // What is below stays as it is.
        if self.path_below(&path, digest).is_some() {
            return Ok(());
        }
        // Where nothing was put yet there is no place for a lock.
        self.open_file(digest)?;
        let _lock = self.lock(FlockOperation::LockShared)?;
        self.open_file(digest)?.set_modified(SystemTime::now()).map_err(refused("write to", &self.root))
    }

    /// Compares a content with its digest.
    pub(crate) fn verify(&self, digest: ContentDigest) -> Result<(), BlobError> {
        let (digest, file) = (digest.to_core(), self.open_file(&digest.to_core())?);
        match ContentDigest::of_reader(file) {
            Ok((found, _)) if found.to_core() == digest => Ok(()),
            Ok(_) => Err(BlobError::Damaged(digest)),
            Err(error) => Err(refused("read", &self.root)(error)),
        }
    }

    fn lock(&self, operation: FlockOperation) -> Result<File, BlobError> {
        let path = self.root.join("lock");
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(refused("open", &path))?;
        rustix::fs::flock(&file, operation).map_err(|error| refused("lock", &path)(error.into()))?;
        Ok(file)
    }
}

#[async_trait]
impl BlobStore for LocalBlobStore {
    async fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        // Handing it to another thread would take longer than looking at it again.
        if bytes.len() <= SMALL
            && let Some(content) = self.put_again(bytes, FlockOperation::NonBlockingLockShared)
        {
            return Ok(content);
        }
        let (store, bytes) = (self.clone(), bytes.to_vec());
        in_background(move || store.put_bytes(&bytes)).await
    }

    async fn put_file(&self, path: &Path) -> Result<BlobRef, BlobError> {
        let (store, path) = (self.clone(), path.to_owned());
        in_background(move || store.put_from(&mut Source::File(&mut open_regular(&path)?))).await
    }

    async fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let (store, digest) = (self.clone(), digest.clone());
        in_background(move || store.read(&digest)).await
    }

    async fn get_file(&self, digest: &Digest, to: &Path) -> Result<(), BlobError> {
        let (store, digest, to) = (self.clone(), digest.clone(), to.to_owned());
        in_background(move || store.copy_out(&digest, &to)).await
    }

    async fn put_stream(
        &self,
        content: &mut (dyn AsyncRead + Send + Unpin),
        expected: Option<&Digest>,
    ) -> Result<Put, BlobError> {
        let folder = self.root.join("tmp");
        let staging = folder.clone();
        let staged = in_background(move || {
            make_folder(&staging)?;
            NamedTempFile::new_in(&staging).map_err(refused("write to", &staging))
        });
        let staged = staged.await?;
        let file = staged.as_file().try_clone().map_err(refused("write to", &folder))?;
        let written = stage(content, tokio::fs::File::from_std(file)).await;
        let content = written.map_err(refused("copy content to", &folder))?;
        if let Some(expected) = expected.filter(|expected| **expected != content.digest) {
            return Err(BlobError::Unexpected { expected: expected.clone(), found: content.digest });
        }
        let store = self.clone();
        in_background(move || {
            let _lock = store.lock(FlockOperation::LockShared)?;
            store.place(staged, content)
        })
        .await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobStream, BlobError> {
        let (store, wanted) = (self.clone(), digest.clone());
        let file = in_background(move || store.open_file(&wanted)).await?;
        Ok(Box::new(Verified::new(tokio::fs::File::from_std(file), digest.clone())))
    }

    async fn link(&self, digest: &Digest, _expires_in: Duration) -> Result<String, BlobError> {
        // A file has no link that expires, and whoever can read the folder needs none.
        let (store, digest) = (self.clone(), digest.clone());
        in_background(move || store.open_file(&digest)).await.and(Err(BlobError::NoLinks))
    }

    async fn contains(&self, digest: &Digest) -> Result<bool, BlobError> {
        let Some(path) = self.path(digest) else { return Ok(false) };
        Ok(path.try_exists().map_err(refused("read", &path))? || self.path_below(&path, digest).is_some())
    }

    async fn retain(&self, digest: &Digest, _class: BlobClass) -> Result<(), BlobError> {
        // What no row refers to is removed, whatever its class, but for what is new.
        let (store, digest) = (self.clone(), digest.clone());
        in_background(move || store.renew(&digest)).await
    }
}

/// Writes what a stream gives to an empty file, and says what it was.
async fn stage(content: &mut (dyn AsyncRead + Send + Unpin), mut file: tokio::fs::File) -> io::Result<BlobRef> {
    let (mut hasher, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let count = content.read(&mut chunk).await?;
        if count == 0 {
            break;
        }
        hasher.update(&chunk[..count]);
        size += count as u64;
        file.write_all(&chunk[..count]).await?;
    }
    file.flush().await?;
    Ok(BlobRef { digest: Digest::new(hex(&hasher.finalize())), size })
}

/// The contents of trees: the same blobs, for threads that wait for the disk.
impl Contents for LocalBlobStore {
    fn keep(&self, file: &Path) -> io::Result<(ContentDigest, u64)> {
        let kept = open_regular(file).and_then(|mut file| self.put_from(&mut Source::File(&mut file)));
        let kept = kept.map_err(into_io)?;
        Ok((content_digest(&kept.digest)?, kept.size))
    }

    fn keep_all(&self, files: &[PathBuf]) -> Result<Vec<(ContentDigest, u64)>, WorkspaceError> {
        let failed = |(path, error): (PathBuf, BlobError)| WorkspaceError::writing(&path, into_io(error));
        let kept = self.put_together(files).map_err(failed)?;
        let told = kept.into_iter().map(|kept| Ok((content_digest(&kept.digest)?, kept.size)));
        told.collect::<io::Result<_>>().map_err(|error| WorkspaceError::writing(&self.root, error))
    }

    fn give(&self, digest: ContentDigest, to: &Path) -> io::Result<()> {
        self.copy_out(&digest.to_core(), to).map_err(into_io)
    }

    fn read(&self, digest: ContentDigest) -> io::Result<Vec<u8>> {
        self.read(&digest.to_core()).map_err(into_io)
    }

    fn has(&self, digest: ContentDigest) -> bool {
        self.renew(&digest.to_core()).is_ok()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<ContentDigest> {
        content_digest(&self.put_bytes(bytes).map_err(into_io)?.digest)
    }
}

/// The file of a digest in the store of a folder.
pub(crate) fn file_in(root: &Path, digest: &str) -> PathBuf {
    let (head, tail) = digest.split_at_checked(2).unwrap_or((digest, ""));
    root.join("sha256").join(head).join(tail)
}

fn content_digest(digest: &Digest) -> io::Result<ContentDigest> {
    ContentDigest::from_core(digest).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The kind says whether there is no room.
fn into_io(error: BlobError) -> io::Error {
    match error {
        BlobError::Io { action, source } => {
            io::Error::new(source.kind(), format!("the blob store cannot {action}: {source}"))
        }
        BlobError::NotFound(_) => io::Error::new(io::ErrorKind::NotFound, error.to_string()),
        error => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    }
}

/// Where content comes from.
enum Source<'a> {
    Bytes(&'a [u8]),
    File(&'a mut File),
}

impl Source<'_> {
    /// Copies the content to an empty file and says what it was. `place` is named where that fails.
    fn copy_to(&mut self, target: &mut File, place: &Path) -> Result<BlobRef, BlobError> {
        let (mut hasher, mut size) = (Sha256::new(), 0);
        let copied = match self {
            Self::Bytes(bytes) => {
                hasher.update(*bytes);
                size = bytes.len() as u64;
                target.write_all(bytes)
            }
            Self::File(file) if rustix::fs::ioctl_ficlone(target.as_fd(), file.as_fd()).is_ok() => {
                // What was cloned is read, not the file: that may be changing.
                for_each_chunk(target, |chunk| {
                    hasher.update(chunk);
                    size += chunk.len() as u64;
                    Ok(())
                })
            }
            Self::File(file) => for_each_chunk(file, |chunk| {
                hasher.update(chunk);
                size += chunk.len() as u64;
                target.write_all(chunk)
            }),
        };
        copied.map_err(refused("copy content to", place))?;
        Ok(BlobRef { digest: Digest::new(hex(&hasher.finalize())), size })
    }
}

/// Whether the content at `path` is that of the staged file. Content that is there is marked as used now, which keeps a sweep from it.
fn is_there(path: &Path, staged: &mut File) -> io::Result<bool> {
    let mut there = match File::open(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    there.set_modified(SystemTime::now())?;
    same_content(&mut there, staged)
}

fn same_content(one: &mut File, other: &mut File) -> io::Result<bool> {
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    io::Seek::rewind(other)?;
    let (mut same, mut expected) = (true, buffer_for(other)?);
    for_each_chunk(one, |chunk| {
        let expected = &mut expected[..chunk.len()];
        other.read_exact(expected)?;
        same &= chunk == &*expected;
        Ok(())
    })?;
    Ok(same)
}

/// Room for a chunk of a file; less where the whole file is less.
fn buffer_for(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(CHUNK);
    Ok(vec![0; length.clamp(4096, CHUNK)])
}

fn for_each_chunk(file: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = buffer_for(file)?;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens a file to be kept. Anything else that has a path (a folder, a pipe that would block) is refused.
fn open_regular(path: &Path) -> Result<File, BlobError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(io::Error::from);
    let file = opened.map(File::from).map_err(refused("read", path))?;
    if file.metadata().map_err(refused("read", path))?.is_file() {
        return Ok(file);
    }
    Err(refused("keep", path)(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")))
}

/// Makes a folder and those above it, for their owner alone, so that they outlive a power loss.
fn make_folder(folder: &Path) -> Result<(), BlobError> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    make_folder(parent)?;
    match std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(refused("make", folder)(error)),
        _ => sync_folder(parent),
    }
}

/// Writes files or folders through to the disk. Where they are many, all that the disk has not written yet is written at once, whatever it belongs to.
fn sync_together(store: &Path, paths: &[&Path]) -> Result<(), BlobError> {
    if paths.len() > SYNCED_APART_MAX {
        let synced = File::open(store).and_then(|store| Ok(rustix::fs::syncfs(store)?));
        return synced.map_err(refused("write to", store));
    }
    in_parallel_each(paths, |path| File::open(path).and_then(|file| file.sync_all()).map_err(refused("write", path)))?;
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), BlobError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(refused("write to", folder))
}

fn refused(action: &str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let action = format!("{action} {}", path.display());
    move |source| BlobError::Io { action, source }
}

/// Does work that waits for the disk where it holds nobody up.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let unfinished =
        |error: tokio::task::JoinError| refused("finish its work in", Path::new("the background"))(error.into());
    spawn_blocking(work).await.map_err(unfinished)?
}

#[cfg(test)]
mod tests;
