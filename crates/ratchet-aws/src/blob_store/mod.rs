//! Content in an S3 bucket, by its SHA-256.
//!
//! | key | what it is |
//! | --- | --- |
//! | `<prefix>sha256/ab/cdef…` | the content of the digest `abcdef…` |
//!
//! | of an object | what it says |
//! | --- | --- |
//! | metadata `sha256` | the digest that its bytes had when they were put |
//! | metadata `class` | how long it is kept: `run` or `lasting` |
//! | tag `ratchet-class` = `run` | what a bucket's lifecycle rule may expire by age. Lasting content has no tag |
//!
//! Content of up to 8 MiB is put by one conditional request, which carries its checksum. What is there already costs one more (a look at it), and one more than that once a
//! day, which makes it new again for rules that go by age. Larger content goes up in parts, each with its checksum, and is there when all parts are. What is never
//! completed, because its process died, is for the bucket's rule on incomplete uploads.
//!
//! Who puts needs `s3:PutObject`, `s3:PutObjectTagging`, `s3:GetObject` and `s3:AbortMultipartUpload` on the prefix; without `s3:ListBucket` on the bucket, S3 says of what is
//! not there that one may not look.

mod error;
mod parts;
mod put;
mod read;
mod renew;
mod resuming;
#[cfg(test)]
mod tests;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::{Client, presigning::PresigningConfig};
use ratchet_core::{ids::Digest, output::BlobRef};
use ratchet_engine::ports::{BlobClass, BlobError, BlobStore, BlobStream, Put};
use tokio::io::AsyncRead;

/// Content in a bucket.
#[derive(Debug, Clone)]
pub struct S3BlobStore {
    client: Client,
    bucket: String,
    prefix: String,
    /// Bytes that are held in memory at a time for an upload, but for those that are under way.
    part: usize,
    /// Whether what is not there is told from what may not be seen.
    may_list: bool,
}

/// The size of the first parts of an upload, and the most that goes up in one request. S3 takes no less but for the last.
const PART: usize = 8 << 20;

/// A link lives no longer: signatures of S3 do not.
const LINK_MAX: Duration = Duration::from_hours(7 * 24);

impl S3BlobStore {
    /// The contents of a bucket under a prefix, which ends in a slash or is empty.
    pub fn new(client: Client, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), prefix: prefix.into(), part: PART, may_list: true }
    }

    /// The same for whoever may not list the bucket: S3 says of what is not there that it may not be seen.
    #[must_use]
    pub fn without_listing(self) -> Self {
        Self { may_list: false, ..self }
    }

    /// The key of a digest; not found is text that is no digest.
    fn key(&self, digest: &Digest) -> Result<String, BlobError> {
        let text = digest.as_str();
        let is_digest = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_digest {
            Ok(format!("{}sha256/{}/{}", self.prefix, &text[..2], &text[2..]))
        } else {
            Err(BlobError::NotFound(digest.clone()))
        }
    }
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        self.put_bytes(bytes).await.map(|put| put.content)
    }

    async fn put_file(&self, path: &Path) -> Result<BlobRef, BlobError> {
        self.put_path(path).await
    }

    async fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        self.read(digest).await
    }

    async fn get_file(&self, digest: &Digest, to: &Path) -> Result<(), BlobError> {
        self.read_to(digest, to).await
    }

    async fn put_stream(
        &self,
        content: &mut (dyn AsyncRead + Send + Unpin),
        expected: Option<&Digest>,
    ) -> Result<Put, BlobError> {
        self.put_what_comes(content, expected).await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobStream, BlobError> {
        Ok(Box::new(self.verified(digest).await?.0))
    }

    async fn link(&self, digest: &Digest, expires_in: Duration) -> Result<String, BlobError> {
        self.look(digest).await?;
        let action = "sign a link";
        let expires_in = expires_in.clamp(Duration::from_secs(1), LINK_MAX);
        let config = PresigningConfig::expires_in(expires_in).map_err(|error| error::not_asked(action, &error))?;
        let request = self.client.get_object().bucket(&self.bucket).key(self.key(digest)?);
        let signed = request.presigned(config).await.map_err(|error| error::refused(action, &error))?;
        Ok(signed.uri().to_owned())
    }

    async fn contains(&self, digest: &Digest) -> Result<bool, BlobError> {
        match self.look(digest).await {
            Ok(_) => Ok(true),
            Err(BlobError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn retain(&self, digest: &Digest, class: BlobClass) -> Result<(), BlobError> {
        self.renew(digest, class).await
    }
}
