//! The bytes of an object, also where connections end too soon: what is left is asked for again.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::{
    config::{Builder, ResponseChecksumValidation},
    operation::get_object::{GetObjectError, GetObjectOutput},
};
use ratchet_core::ids::Digest;
use ratchet_engine::ports::BlobError;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    S3BlobStore,
    error::{refused, status},
};
use crate::chain;

/// How often in a row the rest is asked for without a byte coming.
const TRIES: u32 = 4;

type Body = Pin<Box<dyn AsyncRead + Send>>;
type Opening = Pin<Box<dyn Future<Output = Result<GetObjectOutput, BlobError>> + Send>>;

/// The bytes of an object.
pub(super) struct Resuming {
    store: S3BlobStore,
    digest: Digest,
    /// Names the object's bytes, so that no two objects are put together.
    tag: Option<String>,
    size: u64,
    given: u64,
    /// How often the rest was asked for since a byte came.
    tries: u32,
    body: Body,
    opening: Option<Opening>,
}

impl Resuming {
    /// The bytes of a digest.
    pub(super) async fn open(store: S3BlobStore, digest: Digest) -> Result<Self, BlobError> {
        let answer = get(store.clone(), digest.clone(), 0, None).await?;
        let size = answer.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        let tag = answer.e_tag().map(str::to_owned);
        let body = Box::pin(answer.body.into_async_read());
        Ok(Self { store, digest, tag, size, given: 0, tries: 0, body, opening: None })
    }

    /// How many bytes there are.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// Asks for an object from a byte on. `tag` is what it must still be.
async fn get(store: S3BlobStore, digest: Digest, from: u64, tag: Option<String>) -> Result<GetObjectOutput, BlobError> {
    let mut request = store.client.get_object().bucket(&store.bucket).key(store.key(&digest)?);
    if from > 0 {
        request = request.range(format!("bytes={from}-")).set_if_match(tag);
    }
    // The digest is compared with what was asked for, whoever made the object; a second comparison of the same bytes would find nothing more.
    let config = Builder::new().response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    request.customize().config_override(config).send().await.map_err(|error| {
        let is_missing = error.as_service_error().is_some_and(GetObjectError::is_no_such_key);
        match (is_missing, status(&error)) {
            (true, _) => BlobError::NotFound(digest),
            // It was put over meanwhile, which only happens to damaged content.
            (false, Some(412)) => BlobError::Damaged(digest),
            _ => refused("read content", &error),
        }
    })
}

impl AsyncRead for Resuming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(opening) = &mut self.opening {
                let answer = ready!(opening.as_mut().poll(context));
                self.opening = None;
                self.body = Box::pin(answer.map_err(io::Error::other)?.body.into_async_read());
            }
            let before = buffer.filled().len();
            let ended = match ready!(self.body.as_mut().poll_read(context, buffer)) {
                Ok(()) => {
                    let given = (buffer.filled().len() - before) as u64;
                    if given > 0 {
                        self.given += given;
                        self.tries = 0;
                        return Poll::Ready(Ok(()));
                    }
                    if self.given >= self.size || buffer.remaining() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    "the connection ended before all was there".to_owned()
                }
                Err(error) => chain(&error),
            };
            if self.tries >= TRIES {
                let gone = BlobError::Unavailable { action: "read content".to_owned(), reason: ended };
                return Poll::Ready(Err(io::Error::other(gone)));
            }
            self.tries += 1;
            let (store, digest, tag) = (self.store.clone(), self.digest.clone(), self.tag.clone());
            self.opening = Some(Box::pin(get(store, digest, self.given, tag)));
        }
    }
}
