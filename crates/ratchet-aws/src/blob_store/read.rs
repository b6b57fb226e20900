//! Content as it comes back: only ever the bytes of the digest.

use std::{io, path::Path};

use aws_sdk_s3::{
    operation::head_object::{HeadObjectError, HeadObjectOutput},
    types::{ChecksumMode, ChecksumType},
};
use ratchet_core::ids::Digest;
use ratchet_engine::ports::{BlobError, Verified};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    S3BlobStore,
    error::{refused, status},
    parts::base64_of,
    put::SHA256,
    resuming::Resuming,
};

/// The most room that is made before the bytes are there.
const ROOM_MAX: u64 = 64 << 20;

impl S3BlobStore {
    /// What is known of a content without reading it.
    pub(super) async fn look(&self, digest: &Digest) -> Result<HeadObjectOutput, BlobError> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.key(digest)?);
        request.checksum_mode(ChecksumMode::Enabled).send().await.map_err(|error| {
            let is_missing = error.as_service_error().is_some_and(HeadObjectError::is_not_found);
            let is_hidden = !self.may_list && status(&error) == Some(403);
            if is_missing || is_hidden {
                BlobError::NotFound(digest.clone())
            } else {
                refused("look for content", &error)
            }
        })
    }

    /// The bytes of a digest as they come, and how many they are.
    pub(super) async fn verified(&self, digest: &Digest) -> Result<(Verified<Resuming>, u64), BlobError> {
        let stream = Resuming::open(self.clone(), digest.clone()).await?;
        let size = stream.size();
        Ok((Verified::new(stream, digest.clone()), size))
    }

    pub(super) async fn read(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let (mut stream, size) = self.verified(digest).await?;
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(ROOM_MAX)).unwrap_or_default());
        stream.read_to_end(&mut bytes).await.map_err(BlobError::of_stream)?;
        Ok(bytes)
    }

    pub(super) async fn read_to(&self, digest: &Digest, to: &Path) -> Result<(), BlobError> {
        let refused = |source| BlobError::Io { action: format!("write {}", to.display()), source };
        let (mut stream, _) = self.verified(digest).await?;
        let mut file = tokio::fs::File::create_new(to).await.map_err(refused)?;
        let written = match tokio::io::copy(&mut stream, &mut file).await {
            Ok(_) => file.flush().await.map_err(refused),
            Err(error) => Err(of_copy(error, to)),
        };
        if written.is_err() {
            // Half a file must not pass for the content. It was made here; that it cannot be removed changes nothing about the error.
            let _ = tokio::fs::remove_file(to).await;
        }
        written
    }
}

/// An error of the stream says what it is; any other is the file's.
fn of_copy(error: io::Error, to: &Path) -> BlobError {
    match BlobError::of_stream(error) {
        BlobError::Io { source, .. } => BlobError::Io { action: format!("write {}", to.display()), source },
        error => error,
    }
}

/// Whether what is there was put as the content of a digest: only its damage is put over.
pub(super) fn is_whole(there: &HeadObjectOutput, digest: &Digest, size: Option<u64>) -> bool {
    let has_size = size.is_none_or(|size| size_of(there) == Some(size));
    let is_of_parts = matches!(there.checksum_type(), Some(ChecksumType::Composite));
    let has_checksum = match there.checksum_sha256() {
        // What went up in parts has a checksum of their checksums.
        Some(checksum) if !is_of_parts && !checksum.contains('-') => Some(checksum) == base64_of(digest).as_deref(),
        _ => there.metadata().and_then(|metadata| metadata.get(SHA256)).is_some_and(|said| said == digest.as_str()),
    };
    has_size && has_checksum
}

/// The bytes of an object.
pub(super) fn size_of(there: &HeadObjectOutput) -> Option<u64> {
    there.content_length().and_then(|size| u64::try_from(size).ok())
}
