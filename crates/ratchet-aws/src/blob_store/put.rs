//! Content on its way into the bucket. It is there under its digest when all of it is, and nothing is put over what is whole.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, SeekFrom},
    path::Path,
};

use aws_sdk_s3::primitives::ByteStream;
use ratchet_core::{
    history::{hex, sha256_hex},
    ids::Digest,
    output::BlobRef,
};
use ratchet_engine::ports::{BlobClass, BlobError, Put};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::{
    S3BlobStore,
    error::{refused, status},
    parts::base64_of,
    read::is_whole,
};

/// Metadata: the digest that an object's bytes had.
pub(super) const SHA256: &str = "sha256";
/// Metadata: how long it is kept.
pub(super) const CLASS: &str = "class";
/// The tag of content that rules may expire.
pub(super) const RUN_TAG: &str = "ratchet-class=run";

/// How often others may be first before a put gives up.
const CONFLICTS_MAX: u32 = 5;

/// How often a file that changes while it is read is read again.
const READS_MAX: u32 = 5;

/// Bytes that are hashed at a time.
const CHUNK: usize = 128 * 1024;

/// On which condition an object is written.
#[derive(Debug, Clone)]
pub(super) enum Over {
    /// Nothing is there.
    Nothing,
    /// What is there has this tag: it is damaged.
    Damaged(String),
}

impl Over {
    /// What `If-None-Match` says.
    pub(super) fn none_match(&self) -> Option<String> {
        matches!(self, Self::Nothing).then(|| "*".to_owned())
    }

    /// What `If-Match` says.
    pub(super) fn tag(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Damaged(tag) => Some(tag.clone()),
        }
    }
}

/// What came of a conditional write.
pub(super) enum Written {
    /// It is there.
    Now,
    /// Something else is, or somebody is writing it.
    Stands,
}

/// What an object says of itself.
pub(super) fn metadata(digest: &Digest, class: BlobClass) -> HashMap<String, String> {
    [(SHA256, digest.as_str()), (CLASS, class.as_str())].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// What a put finds.
enum Found {
    /// The content, which is new again.
    Content,
    /// Nothing, or damage to put over.
    Room(Over),
}

impl S3BlobStore {
    pub(super) async fn put_bytes(&self, bytes: &[u8]) -> Result<Put, BlobError> {
        let content = BlobRef { digest: Digest::new(sha256_hex(bytes)), size: bytes.len() as u64 };
        if bytes.len() <= self.part {
            return self.put_small(content, bytes).await;
        }
        let (first, mut rest) = bytes.split_at(self.part);
        match self.find(&content.digest, Some(content.size)).await? {
            Found::Content => Ok(Put { content, is_new: false }),
            Found::Room(over) => self.put_parts(&content.digest, (first.to_vec(), &mut rest), over).await,
        }
    }

    pub(super) async fn put_path(&self, path: &Path) -> Result<BlobRef, BlobError> {
        let unread = |source| BlobError::Io { action: format!("read {}", path.display()), source };
        let mut file = open_regular(path).await?;
        for _ in 0..READS_MAX {
            let first = read_part(&mut file, self.part).await.map_err(unread)?;
            if first.len() < self.part {
                return self.put_bytes(&first).await.map(|put| put.content);
            }
            let mut hashing = Hashing::default();
            hashing.add(&first);
            drop(first);
            hashing.drain(&mut file).await.map_err(unread)?;
            match self.put_file_parts(&mut file, hashing.finish()).await {
                // It is not what it was a moment ago.
                Err(BlobError::Unexpected { .. }) => file.rewind().await.map_err(unread)?,
                put => return put.map(|put| put.content),
            };
        }
        Err(unread(io::Error::other("it changes while it is read")))
    }

    pub(super) async fn put_what_comes(
        &self,
        stream: &mut (dyn AsyncRead + Send + Unpin),
        expected: Option<&Digest>,
    ) -> Result<Put, BlobError> {
        let first = read_part(stream, self.part).await.map_err(uncopied)?;
        let mut hashing = Hashing::default();
        hashing.add(&first);
        if first.len() < self.part {
            let content = hashing.finish();
            is_expected(&content, expected)?;
            return self.put_small(content, &first).await;
        }
        let Some(expected) = expected else { return self.put_by_way_of_a_file(first, stream).await };
        match self.find(expected, None).await? {
            Found::Room(over) => self.put_parts(expected, (first, stream), over).await,
            Found::Content => {
                drop(first);
                hashing.drain(stream).await.map_err(uncopied)?;
                let content = hashing.finish();
                is_expected(&content, Some(expected)).map(|()| Put { content, is_new: false })
            }
        }
    }

    /// Keeps what a stream gives of which nothing is known. Its digest is its key, and S3 asks for the key before the first byte: so it is gathered here first, and
    /// does not go out at all where it is there already.
    async fn put_by_way_of_a_file(
        &self,
        first: Vec<u8>,
        rest: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Put, BlobError> {
        let mut file = tokio::fs::File::from_std(tempfile::tempfile().map_err(uncopied)?);
        file.write_all(&first).await.map_err(uncopied)?;
        let mut hashing = Hashing::default();
        hashing.add(&first);
        drop(first);
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = rest.read(&mut chunk).await.map_err(uncopied)?;
            if count == 0 {
                break;
            }
            hashing.add(&chunk[..count]);
            file.write_all(&chunk[..count]).await.map_err(uncopied)?;
        }
        file.flush().await.map_err(uncopied)?;
        self.put_file_parts(&mut file, hashing.finish()).await
    }

    /// Keeps a file that was read already.
    async fn put_file_parts(&self, file: &mut tokio::fs::File, content: BlobRef) -> Result<Put, BlobError> {
        match self.find(&content.digest, Some(content.size)).await? {
            Found::Content => Ok(Put { content, is_new: false }),
            Found::Room(over) => {
                file.seek(SeekFrom::Start(0)).await.map_err(uncopied)?;
                let first = read_part(file, self.part).await.map_err(uncopied)?;
                self.put_parts(&content.digest, (first, file), over).await
            }
        }
    }

    /// Keeps what goes up in one request.
    async fn put_small(&self, content: BlobRef, bytes: &[u8]) -> Result<Put, BlobError> {
        let mut over = Over::Nothing;
        for _ in 0..CONFLICTS_MAX {
            match self.put_once(&content.digest, bytes, &over).await? {
                Written::Now => return Ok(Put { content, is_new: true }),
                Written::Stands => match self.find(&content.digest, Some(content.size)).await? {
                    Found::Content => return Ok(Put { content, is_new: false }),
                    Found::Room(room) => over = room,
                },
            }
        }
        Err(crowded())
    }

    async fn put_once(&self, digest: &Digest, bytes: &[u8], over: &Over) -> Result<Written, BlobError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(digest)?)
            .body(ByteStream::from(bytes.to_vec()))
            .set_checksum_sha256(base64_of(digest))
            .set_metadata(Some(metadata(digest, BlobClass::Run)))
            .tagging(RUN_TAG)
            .set_if_none_match(over.none_match())
            .set_if_match(over.tag());
        match request.send().await {
            Ok(_) => Ok(Written::Now),
            // 409: somebody else is writing it. 404: what was to be put over is gone.
            Err(error) if stands(status(&error), over) => Ok(Written::Stands),
            Err(error) => Err(refused("keep content", &error)),
        }
    }

    /// Keeps what goes up in parts.
    async fn put_parts(
        &self,
        digest: &Digest,
        parts: (Vec<u8>, &mut (dyn AsyncRead + Send + Unpin)),
        over: Over,
    ) -> Result<Put, BlobError> {
        let (content, written) = self.upload(digest, parts, &over).await?;
        match written {
            Written::Now => Ok(Put { content, is_new: true }),
            Written::Stands => match self.find(digest, Some(content.size)).await? {
                Found::Content => Ok(Put { content, is_new: false }),
                Found::Room(_) => Err(crowded()),
            },
        }
    }

    /// What is there of a content.
    async fn find(&self, digest: &Digest, size: Option<u64>) -> Result<Found, BlobError> {
        let there = match self.look(digest).await {
            Ok(there) => there,
            Err(BlobError::NotFound(_)) => return Ok(Found::Room(Over::Nothing)),
            Err(error) => return Err(error),
        };
        if !is_whole(&there, digest, size) {
            let tag = there.e_tag().unwrap_or_default().to_owned();
            return Ok(Found::Room(Over::Damaged(tag)));
        }
        match self.renew_seen(digest, there, BlobClass::Run).await {
            Ok(()) => Ok(Found::Content),
            Err(BlobError::NotFound(_)) => Ok(Found::Room(Over::Nothing)),
            Err(error) => Err(error),
        }
    }
}

/// Whether a status says that the condition of a write did not hold.
pub(super) fn stands(status: Option<u16>, over: &Over) -> bool {
    matches!(status, Some(409 | 412)) || (status == Some(404) && matches!(over, Over::Damaged(_)))
}

fn crowded() -> BlobError {
    let reason = "it changes whenever it is looked at".to_owned();
    BlobError::Unavailable { action: "keep content".to_owned(), reason }
}

fn uncopied(source: io::Error) -> BlobError {
    BlobError::Io { action: "copy content".to_owned(), source }
}

pub(super) fn is_expected(content: &BlobRef, expected: Option<&Digest>) -> Result<(), BlobError> {
    match expected.filter(|expected| **expected != content.digest) {
        Some(expected) => Err(BlobError::Unexpected { expected: expected.clone(), found: content.digest.clone() }),
        None => Ok(()),
    }
}

/// So many bytes of a stream; fewer where it ends.
pub(super) async fn read_part(stream: &mut (dyn AsyncRead + Send + Unpin), size: usize) -> io::Result<Vec<u8>> {
    let mut part = Vec::new();
    stream.take(size as u64).read_to_end(&mut part).await?;
    Ok(part)
}

/// Content of which the bytes are forgotten.
#[derive(Default)]
pub(super) struct Hashing {
    hasher: Sha256,
    size: u64,
}

impl Hashing {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }

    async fn drain(&mut self, stream: &mut (dyn AsyncRead + Send + Unpin)) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match stream.read(&mut chunk).await? {
                0 => return Ok(()),
                count => self.add(&chunk[..count]),
            }
        }
    }

    pub(super) fn finish(self) -> BlobRef {
        BlobRef { digest: Digest::new(hex(&self.hasher.finalize())), size: self.size }
    }
}

/// Opens a file to be kept. Anything else that has a path (a folder, a pipe that would block) is refused.
async fn open_regular(path: &Path) -> Result<tokio::fs::File, BlobError> {
    let action = format!("read {}", path.display());
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    });
    let opened = opened.await.unwrap_or_else(|error| Err(error.into()));
    opened.map(tokio::fs::File::from_std).map_err(|source| BlobError::Io { action, source })
}
