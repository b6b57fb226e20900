use std::path::Path;

use async_trait::async_trait;
use ratchet_core::{ids::Digest, output::BlobRef};
use thiserror::Error;

/// Content by its SHA-256: definitions, large values, captured files.
///
/// Contract: a blob is whole or absent, never half there, also after a crash in the middle of a put. A put of content that is there already
/// changes nothing and succeeds. A get gives exactly the bytes of the digest, or an error: content that no longer has its digest is
/// [`BlobError::Damaged`]. Nothing is ever overwritten, but for damaged content by a put of what it should be.
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

    /// Whether the content is there. It is not read.
    async fn contains(&self, digest: &Digest) -> Result<bool, BlobError>;
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
    /// The place where blobs live refused.
    #[error("the blob store cannot {action}: {source}")]
    Io {
        /// What was tried: a fragment that reads after "cannot".
        action: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl BlobError {
    /// The stable code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "RT-0210",
            Self::Damaged(_) => "RT-0211",
            Self::Io { .. } => "RT-0212",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "restore the blobs from a copy of the state directory, or start the run again",
            Self::Damaged(_) => {
                "check the disk; the step or run that made the content repairs it when it makes it again"
            }
            Self::Io { .. } => "make room or make the place writable, then resume the run",
        }
    }
}
