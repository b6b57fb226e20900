//! The lists that fan-outs work on: kept in chunks, so that a child reads its own item without reading them all.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use ratchet_core::{
    fan_out::{ItemChunk, ItemIndex, chunks},
    ids::Digest,
    output::{BlobRef, Output},
};
use serde::de::DeserializeOwned;

use crate::{
    engine::EngineError,
    ports::{BlobError, BlobStore},
};

/// How many chunks and indexes are kept in memory, read and parsed. Neighbouring children read the same ones.
const CACHED: usize = 16;

/// Chunks and indexes that were read lately.
#[derive(Default)]
pub(crate) struct ItemCache {
    indexes: Recent<ItemIndex>,
    chunks: Recent<Vec<Output>>,
}

/// The newest first.
struct Recent<T>(Mutex<VecDeque<(Digest, Arc<T>)>>);

/// Keeps a list and returns its index.
pub(crate) async fn store(blobs: &dyn BlobStore, items: &[Output]) -> Result<BlobRef, EngineError> {
    let mut index = ItemIndex { count: u32::try_from(items.len()).unwrap_or(u32::MAX), chunks: Vec::new() };
    for (first, bytes) in chunks(items) {
        index.chunks.push(ItemChunk { first, values: blobs.put(&bytes).await? });
    }
    // An index is plain data with text keys, which always has a JSON form.
    Ok(blobs.put(&serde_json::to_vec(&index).unwrap_or_default()).await?)
}

impl ItemCache {
    /// One item of a list.
    pub(crate) async fn item(&self, blobs: &dyn BlobStore, index: &BlobRef, item: u32) -> Result<Output, EngineError> {
        let damaged = |blob: &BlobRef| EngineError::Blob(BlobError::Damaged(blob.digest.clone()));
        let list = self.indexes.read(blobs, index).await?;
        let chunk = list.chunk_of(item).ok_or_else(|| damaged(index))?;
        let values = self.chunks.read(blobs, &chunk.values).await?;
        values.get((item - chunk.first) as usize).cloned().ok_or_else(|| damaged(&chunk.values))
    }

    /// The number of items of a list.
    pub(crate) async fn count(&self, blobs: &dyn BlobStore, index: &BlobRef) -> Result<u32, EngineError> {
        Ok(self.indexes.read(blobs, index).await?.count)
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: DeserializeOwned> Recent<T> {
    async fn read(&self, blobs: &dyn BlobStore, blob: &BlobRef) -> Result<Arc<T>, EngineError> {
        let known = self.lock().iter().find(|(digest, _)| *digest == blob.digest).map(|(_, value)| value.clone());
        if let Some(value) = known {
            return Ok(value);
        }
        let bytes = blobs.get(&blob.digest).await?;
        let damaged = |_| EngineError::Blob(BlobError::Damaged(blob.digest.clone()));
        let value: Arc<T> = Arc::new(serde_json::from_slice(&bytes).map_err(damaged)?);
        let mut recent = self.lock();
        recent.push_front((blob.digest.clone(), value.clone()));
        recent.truncate(CACHED);
        Ok(value)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Digest, Arc<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
