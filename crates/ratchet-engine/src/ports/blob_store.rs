use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use ratchet_core::{history::hex, ids::Digest, output::BlobRef};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};

/// Content by its SHA-256: definitions, large values, captured files.
///
/// Contract: a blob is whole or absent, never half there, also after a crash in the middle of a put. A put of content that is there already
/// changes nothing and succeeds. A get gives exactly the bytes of the digest, or an error: content that no longer has its digest is
/// [`BlobError::Damaged`]. Nothing is ever overwritten, but for damaged content by a put of what it should be.
///
/// Contract of the time that content is kept: a put counts it as new, of the class [`BlobClass::Run`], also where it was there. A store may remove content that has been neither
/// put nor retained for as long as its class says; one whose owner removes what no row refers to looks at no class. Content never falls to a shorter class.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Keeps some bytes.
    async fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError>;

    /// Keeps a file's content without holding it in memory.
    async fn put_file(&self, path: &Path) -> Result<BlobRef, BlobError>;

    /// The bytes of a digest.
    async fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError>;

    /// Writes the bytes of a digest to a file that does not exist yet.
    async fn get_file(&self, digest: &Digest, to: &Path) -> Result<(), BlobError>;

    /// Keeps what a stream gives, without holding it in memory, and says whether it was there already. Content that has not the digest which is expected is not
    /// kept: [`BlobError::Unexpected`].
    async fn put_stream(
        &self,
        content: &mut (dyn AsyncRead + Send + Unpin),
        expected: Option<&Digest>,
    ) -> Result<Put, BlobError>;

    /// The bytes of a digest as a stream, which ends in an error where they are not those of the digest: [`BlobError::of_stream`] says which.
    async fn open(&self, digest: &Digest) -> Result<BlobStream, BlobError>;

    /// A link by which whoever has it reads the content, until it expires: after seven days at most, and sooner where what signed it is no longer valid. [`BlobError::NoLinks`] where content is only reached by those who may reach the store.
    async fn link(&self, digest: &Digest, expires_in: Duration) -> Result<String, BlobError>;

    /// Whether the content is there. It is not read.
    async fn contains(&self, digest: &Digest) -> Result<bool, BlobError>;

    /// Counts content that is there as new, and keeps it as long as this class says, or its own where that is longer. It is not read.
    async fn retain(&self, digest: &Digest, class: BlobClass) -> Result<(), BlobError>;
}

/// How long content is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobClass {
    /// As long as runs are kept that made it or used it.
    Run,
    /// Until somebody removes it.
    Lasting,
}

impl BlobClass {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Lasting => "lasting",
        }
    }
}

/// The bytes of some content, as they come.
pub type BlobStream = Box<dyn AsyncRead + Send + Unpin>;

/// What a put left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The content.
    pub content: BlobRef,
    /// Whether this put brought it: else it was there already.
    pub is_new: bool,
}

/// A stream that ends in an error where it did not give the content of its digest.
pub struct Verified<R> {
    bytes: R,
    digest: Digest,
    hasher: Sha256,
}

impl<R> Verified<R> {
    /// Verifies what a stream gives.
    pub fn new(bytes: R, digest: Digest) -> Self {
        Self { bytes, digest, hasher: Sha256::new() }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Verified<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, had_room) = (buffer.filled().len(), buffer.remaining() > 0);
        ready!(Pin::new(&mut self.bytes).poll_read(context, buffer))?;
        let given = &buffer.filled()[before..];
        if !given.is_empty() {
            self.hasher.update(given);
        } else if had_room && hex(&self.hasher.clone().finalize()) != self.digest.as_str() {
            let damaged = BlobError::Damaged(self.digest.clone());
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, damaged)));
        }
        Poll::Ready(Ok(()))
    }
}

/// Why a blob could not be kept or given.
#[derive(Debug, Error)]
pub enum BlobError {
    /// No such content.
    #[error("the content {0} is not in the blob store")]
    NotFound(Digest),
    /// The content is not what its name says.
    #[error("the content {0} is damaged in the blob store")]
    Damaged(Digest),
    /// The content that was to be kept is not what it was said to be.
    #[error("the content to be kept has the digest {found}, and {expected} was expected")]
    Unexpected {
        /// What was to come.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The store gives no links.
    #[error("there are no links to the content of this state directory: it is reached by those who may read its files")]
    NoLinks,
    /// The place where blobs live has too much to do, or does not answer. The same call may succeed later.
    #[error("the blob store cannot {action} for now: {reason}")]
    Unavailable {
        /// What was tried: a fragment that reads after "cannot".
        action: String,
        /// What it said.
        reason: String,
    },
    /// The place where blobs live does not let this be done. The same call will not succeed either.
    #[error("the blob store refuses to {action}: {reason}")]
    Denied {
        /// What was tried: a fragment that reads after "to".
        action: String,
        /// What it said.
        reason: String,
    },
    /// The system refused.
    #[error("the blob store cannot {action}: {source}")]
    Io {
        /// What was tried: a fragment that reads after "cannot".
        action: String,
        /// What the system said.
        source: io::Error,
    },
}

impl BlobError {
    /// What an error of a stream means that [`BlobStore::open`] gave.
    pub fn of_stream(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Io { action: "read content".to_owned(), source },
        }
    }

    /// The stable code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "RT-0210",
            Self::Damaged(_) => "RT-0211",
            Self::Io { .. } => "RT-0212",
            Self::Unexpected { .. } => "RT-0213",
            Self::NoLinks => "RT-0214",
            Self::Unavailable { .. } => "RT-0215",
            Self::Denied { .. } => "RT-0216",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "restore the blobs from a copy of the state directory, or start the run again",
            Self::Damaged(_) => {
                "check the disk; the step or run that made the content repairs it when it makes it again"
            }
            Self::Unexpected { .. } => "check where it comes from, and give it again",
            Self::NoLinks => "write the content to a file with `ratchet artifacts get`, and pass that on",
            Self::Unavailable { .. } => "wait and try again; runs try again by themselves",
            Self::Denied { .. } => "give whoever asked the rights that the message names, then resume the run",
            Self::Io { .. } => "make room or make the place writable, then resume the run",
        }
    }
}
