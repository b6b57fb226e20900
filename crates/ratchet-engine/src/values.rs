//! Large values: kept in the blob store and loaded again, without the author noticing.

use ratchet_core::output::{Output, Outputs};

use crate::{
    engine::EngineError,
    ports::{BlobError, BlobStore},
};

/// Bytes of JSON from which on an output does not stay in its row.
pub const INLINE_BYTES_MAX: usize = 8 * 1024;

/// Moves large outputs out.
pub async fn store_large(blobs: &dyn BlobStore, outputs: Outputs) -> Result<Outputs, BlobError> {
    let mut stored = Outputs::new();
    for (name, output) in outputs {
        // An output is plain data with text keys, which always has a JSON form.
        let text = serde_json::to_vec(&output).unwrap_or_default();
        let output = if text.len() > INLINE_BYTES_MAX { Output::Stored(blobs.put(&text).await?) } else { output };
        stored.insert(name, output);
    }
    Ok(stored)
}

/// Brings large outputs back.
pub async fn load_large(blobs: &dyn BlobStore, outputs: &Outputs) -> Result<Outputs, EngineError> {
    let mut loaded = Outputs::new();
    for (name, output) in outputs {
        loaded.insert(name.clone(), load(blobs, output).await?);
    }
    Ok(loaded)
}

/// Brings one output back.
pub async fn load(blobs: &dyn BlobStore, output: &Output) -> Result<Output, EngineError> {
    let Output::Stored(blob) = output else { return Ok(output.clone()) };
    let bytes = blobs.get(&blob.digest).await?;
    serde_json::from_slice(&bytes).map_err(|_| EngineError::Blob(BlobError::Damaged(blob.digest.clone())))
}
