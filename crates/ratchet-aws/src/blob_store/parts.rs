//! Content that goes up in parts: nothing is there before all of it is, and nothing stays of what failed.

use std::collections::BTreeMap;

use aws_sdk_s3::{
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use ratchet_core::{ids::Digest, output::BlobRef};
use ratchet_engine::ports::{BlobClass, BlobError};
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncRead, task::JoinSet};

use super::{
    S3BlobStore,
    error::{refused, status},
    put::{Hashing, Over, RUN_TAG, Written, is_expected, metadata, read_part, stands},
};

/// Parts that are under way at a time: with the one that is read, so many are in memory.
const UNDER_WAY: usize = 4;

/// After so many parts they are twice as large: there may be 10,000 of them, and content of up to 5 TiB.
const DOUBLED_EACH: i32 = 1500;

/// Reads after "cannot".
const ACTION: &str = "keep content";

impl S3BlobStore {
    /// Uploads the content of a digest, of which the first part was read. Other content is not kept.
    pub(super) async fn upload(
        &self,
        digest: &Digest,
        parts: (Vec<u8>, &mut (dyn AsyncRead + Send + Unpin)),
        over: &Over,
    ) -> Result<(BlobRef, Written), BlobError> {
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(self.key(digest)?)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_metadata(Some(metadata(digest, BlobClass::Run)))
            .tagging(RUN_TAG)
            .send()
            .await;
        let begun = begun.map_err(|error| refused(ACTION, &error))?;
        let upload =
            Upload { store: self, key: self.key(digest)?, id: begun.upload_id().unwrap_or_default().to_owned() };
        let uploaded = match upload.send(parts).await {
            Ok((content, parts)) => match is_expected(&content, Some(digest)) {
                Ok(()) => upload.complete(parts, over).await.map(|written| (content, written)),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if !matches!(uploaded, Ok((_, Written::Now))) {
            upload.abort().await;
        }
        uploaded
    }
}

/// An upload that was begun.
struct Upload<'a> {
    store: &'a S3BlobStore,
    key: String,
    id: String,
}

impl Upload<'_> {
    async fn send(
        &self,
        (first, rest): (Vec<u8>, &mut (dyn AsyncRead + Send + Unpin)),
    ) -> Result<(BlobRef, Vec<CompletedPart>), BlobError> {
        let (mut hashing, mut sent, mut under_way) = (Hashing::default(), BTreeMap::new(), JoinSet::new());
        let (mut part, mut number, mut size) = (first, 1, self.store.part);
        loop {
            let is_last = part.len() < size;
            hashing.add(&part);
            if !part.is_empty() {
                under_way.spawn(self.send_part(number, part));
                number += 1;
            }
            if is_last {
                break;
            }
            while under_way.len() >= UNDER_WAY {
                collect(&mut under_way, &mut sent).await?;
            }
            size = self.store.part << (number / DOUBLED_EACH);
            let read = read_part(rest, size).await;
            part = read.map_err(|source| BlobError::Io { action: "copy content".to_owned(), source })?;
        }
        while !under_way.is_empty() {
            collect(&mut under_way, &mut sent).await?;
        }
        Ok((hashing.finish(), sent.into_values().collect()))
    }

    /// Sends a part, and says what it is completed with.
    fn send_part(
        &self,
        number: i32,
        part: Vec<u8>,
    ) -> impl Future<Output = Result<(i32, CompletedPart), BlobError>> + Send + 'static {
        let checksum = base64(&Sha256::digest(&part));
        let request = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_sha256(&checksum)
            .body(ByteStream::from(part));
        async move {
            let sent = request.send().await.map_err(|error| refused(ACTION, &error))?;
            let tag = sent.e_tag().unwrap_or_default();
            Ok((number, CompletedPart::builder().part_number(number).e_tag(tag).checksum_sha256(checksum).build()))
        }
    }

    async fn complete(&self, parts: Vec<CompletedPart>, over: &Over) -> Result<Written, BlobError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(parts)
            .set_if_none_match(over.none_match())
            .set_if_match(over.tag());
        match request.send().await {
            Ok(_) => Ok(Written::Now),
            Err(error) if stands(status(&error), over) => Ok(Written::Stands),
            // It was completed by an earlier try whose answer was lost, or somebody aborted it: who looks sees which.
            Err(error) if error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("NoSuchUpload") => {
                Ok(Written::Stands)
            }
            Err(error) => Err(refused(ACTION, &error)),
        }
    }

    /// Gives up what was sent. Where that fails too, the bucket's rule on incomplete uploads does it.
    async fn abort(&self) {
        let store = self.store;
        let request = store.client.abort_multipart_upload().bucket(&store.bucket).key(&self.key).upload_id(&self.id);
        if let Err(error) = request.send().await {
            tracing::debug!(error = %crate::chain(&error), "an upload stays until the bucket's rule removes it");
        }
    }
}

/// Waits for one part.
async fn collect(
    under_way: &mut JoinSet<Result<(i32, CompletedPart), BlobError>>,
    sent: &mut BTreeMap<i32, CompletedPart>,
) -> Result<(), BlobError> {
    if let Some(joined) = under_way.join_next().await {
        let (number, part) = joined
            .map_err(|error| BlobError::Unavailable { action: ACTION.to_owned(), reason: error.to_string() })??;
        sent.insert(number, part);
    }
    Ok(())
}

/// A digest as checksums of S3 are spelled.
pub(super) fn base64_of(digest: &Digest) -> Option<String> {
    let text = digest.as_str();
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    bytes.map(|bytes| base64(&bytes))
}

fn base64(bytes: &[u8]) -> String {
    aws_smithy_types::base64::encode(bytes)
}
