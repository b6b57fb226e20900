use std::{io, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use ratchet_core::{ids::Digest, output::BlobRef};
use ratchet_engine::ports::{BlobClass, BlobError, BlobStore, BlobStream, Put};
use tokio::io::AsyncRead;

use crate::{
    memory::MemoryBlobStore,
    simulation::world::{Shared, lock, pause},
};

/// Content in memory that is not available at times.
pub(crate) struct SimulatedBlobs {
    pub(crate) world: Shared,
    pub(crate) inner: Arc<MemoryBlobStore>,
}

impl SimulatedBlobs {
    async fn available(&self, action: &str) -> Result<(), BlobError> {
        pause(&self.world).await;
        let mut world = lock(&self.world);
        let rate = world.faults.blob_unavailable;
        if world.random.chance(rate) {
            world.say(|| format!("blobs: cannot {action}"));
            let source = io::Error::new(io::ErrorKind::TimedOut, "the blob store does not answer");
            return Err(BlobError::Io { action: action.to_owned(), source });
        }
        Ok(())
    }
}

#[async_trait]
impl BlobStore for SimulatedBlobs {
    async fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        self.available("keep a blob").await?;
        self.inner.put(bytes).await
    }

    async fn put_file(&self, path: &Path) -> Result<BlobRef, BlobError> {
        self.available("keep a file").await?;
        self.inner.put_file(path).await
    }

    async fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        self.available("give a blob").await?;
        self.inner.get(digest).await
    }

    async fn get_file(&self, digest: &Digest, to: &Path) -> Result<(), BlobError> {
        self.available("give a file").await?;
        self.inner.get_file(digest, to).await
    }

    async fn put_stream(
        &self,
        content: &mut (dyn AsyncRead + Send + Unpin),
        expected: Option<&Digest>,
    ) -> Result<Put, BlobError> {
        self.available("keep a stream").await?;
        self.inner.put_stream(content, expected).await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobStream, BlobError> {
        self.available("give a stream").await?;
        self.inner.open(digest).await
    }

    async fn link(&self, digest: &Digest, expires_in: Duration) -> Result<String, BlobError> {
        self.available("give a link").await?;
        self.inner.link(digest, expires_in).await
    }

    async fn contains(&self, digest: &Digest) -> Result<bool, BlobError> {
        self.available("look for a blob").await?;
        self.inner.contains(digest).await
    }

    async fn retain(&self, digest: &Digest, class: BlobClass) -> Result<(), BlobError> {
        self.available("keep a blob longer").await?;
        self.inner.retain(digest, class).await
    }
}
