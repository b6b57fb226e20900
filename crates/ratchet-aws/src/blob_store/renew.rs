//! Content that counts as new again: rules of a bucket go by the age of objects.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::{
    error::ProvideErrorMetadata,
    operation::head_object::HeadObjectOutput,
    types::{MetadataDirective, TaggingDirective},
};
use ratchet_core::ids::Digest;
use ratchet_engine::ports::{BlobClass, BlobError};

use super::{
    S3BlobStore,
    error::{refused, status},
    put::{CLASS, RUN_TAG, metadata},
    read::size_of,
};

/// Reads after "cannot".
const ACTION: &str = "keep content longer";

/// Younger content is new enough: what is put a thousand times a day is renewed once. A rule's age is to be some days more.
const RENEWED_EACH: Duration = Duration::from_hours(24);

/// What can be copied in one request.
const COPIED_MAX: u64 = 5 << 30;

/// How often others may change an object first.
const CONFLICTS_MAX: u32 = 5;

impl S3BlobStore {
    pub(super) async fn renew(&self, digest: &Digest, class: BlobClass) -> Result<(), BlobError> {
        let there = self.look(digest).await?;
        self.renew_seen(digest, there, class).await
    }

    /// Has content that was looked at be new, and of this class if its own is shorter.
    pub(super) async fn renew_seen(
        &self,
        digest: &Digest,
        mut there: HeadObjectOutput,
        class: BlobClass,
    ) -> Result<(), BlobError> {
        for _ in 0..CONFLICTS_MAX {
            let is_lasting = class_of(&there) == BlobClass::Lasting;
            if is_lasting || (class == BlobClass::Run && is_new(&there)) {
                return Ok(());
            }
            if size_of(&there).is_some_and(|size| size > COPIED_MAX) {
                return self.have_last(digest).await;
            }
            if self.copy_over(digest, &there, class).await? {
                return Ok(());
            }
            // Somebody else was first: perhaps with a shorter class.
            there = self.look(digest).await?;
        }
        let reason = "it changes whenever it is looked at".to_owned();
        Err(BlobError::Unavailable { action: ACTION.to_owned(), reason })
    }

    /// Copies an object onto itself, which makes it new. `false` where it is another by now.
    async fn copy_over(&self, digest: &Digest, there: &HeadObjectOutput, class: BlobClass) -> Result<bool, BlobError> {
        let key = self.key(digest)?;
        let copied = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .copy_source(format!("{}/{key}", self.bucket))
            .key(key)
            .set_copy_source_if_match(there.e_tag().map(str::to_owned))
            .metadata_directive(MetadataDirective::Replace)
            .set_metadata(Some(metadata(digest, class)))
            .tagging_directive(TaggingDirective::Replace)
            .set_tagging((class == BlobClass::Run).then(|| RUN_TAG.to_owned()))
            .send()
            .await;
        match copied {
            Ok(_) => Ok(true),
            Err(error) => match (error.as_service_error().and_then(ProvideErrorMetadata::code), status(&error)) {
                (Some("NoSuchKey"), _) => Err(BlobError::NotFound(digest.clone())),
                (_, Some(409 | 412)) => Ok(false),
                _ => Err(refused(ACTION, &error)),
            },
        }
    }

    /// Takes off the tag that rules go by: what is too large to be copied in one request is kept until somebody removes it.
    async fn have_last(&self, digest: &Digest) -> Result<(), BlobError> {
        let request = self.client.delete_object_tagging().bucket(&self.bucket).key(self.key(digest)?);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(404) => Err(BlobError::NotFound(digest.clone())),
            Err(error) => Err(refused(ACTION, &error)),
        }
    }
}

/// How long an object is kept; what does not say it is kept by no rule of ours.
fn class_of(there: &HeadObjectOutput) -> BlobClass {
    let said = there.metadata().and_then(|metadata| metadata.get(CLASS));
    if said.is_some_and(|said| said == BlobClass::Run.as_str()) { BlobClass::Run } else { BlobClass::Lasting }
}

fn is_new(there: &HeadObjectOutput) -> bool {
    let changed = there.last_modified().and_then(|at| SystemTime::try_from(*at).ok());
    // What was changed in the future, by this machine's clock, is new.
    changed.is_some_and(|at| at.elapsed().unwrap_or_default() < RENEWED_EACH)
}
