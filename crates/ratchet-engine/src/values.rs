//! Large values: kept in the blob store and loaded again, without the author noticing.

use std::collections::BTreeSet;

use ratchet_core::{
    execution::ExecutionRow,
    output::{BlobRef, Output, Outputs},
};
use serde_json::Value;

use crate::{
    engine::EngineError,
    ports::{BlobError, BlobStore},
};

/// Bytes of JSON from which on an output does not stay in its row.
pub const INLINE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of JSON that all outputs of a row have together at most: a row holds them twice, as what is and as what was recorded, and no store takes rows without bound.
const TOGETHER_BYTES_MAX: usize = 32 * 1024;

/// Moves large outputs out, and of many the largest.
pub async fn store_large(blobs: &dyn BlobStore, outputs: Outputs) -> Result<Outputs, BlobError> {
    // An output is plain data with text keys, which always has a JSON form.
    let texts: Vec<(String, Output, Vec<u8>)> = outputs
        .into_iter()
        .map(|(name, output)| {
            let text = serde_json::to_vec(&output).unwrap_or_default();
            (name, output, text)
        })
        .collect();
    let sizes: Vec<usize> = texts.iter().map(|(_, _, text)| text.len()).collect();
    let stays = stays(&sizes);
    let mut stored = Outputs::new();
    for (position, (name, output, text)) in texts.into_iter().enumerate() {
        let output = if stays.contains(&position) { output } else { Output::Stored(blobs.put(&text).await?) };
        stored.insert(name, output);
    }
    Ok(stored)
}

/// Moves a large value out: it is null then, and lies in a blob.
pub(crate) async fn store_large_value(
    blobs: &dyn BlobStore,
    value: Value,
) -> Result<(Value, Option<BlobRef>), BlobError> {
    // Plain data always has a JSON form.
    let text = serde_json::to_vec(&value).unwrap_or_default();
    if text.len() <= INLINE_BYTES_MAX {
        return Ok((value, None));
    }
    Ok((Value::Null, Some(blobs.put(&text).await?)))
}

/// The event that started a run, wherever it lies.
pub async fn load_trigger(blobs: &dyn BlobStore, row: &ExecutionRow) -> Result<Value, EngineError> {
    let Some(stored) = &row.stored_trigger else { return Ok(row.trigger.clone()) };
    let bytes = blobs.get(&stored.digest).await?;
    serde_json::from_slice(&bytes).map_err(|_| EngineError::Blob(BlobError::Damaged(stored.digest.clone())))
}

/// Of outputs of these sizes the positions of those that stay in their row: the smallest.
fn stays(sizes: &[usize]) -> BTreeSet<usize> {
    let mut smallest_first: Vec<usize> = (0..sizes.len()).collect();
    smallest_first.sort_by_key(|position| sizes[*position]);
    let mut together = 0;
    let fits = |position: &usize| {
        together += sizes[*position];
        sizes[*position] <= INLINE_BYTES_MAX && together <= TOGETHER_BYTES_MAX
    };
    smallest_first.into_iter().take_while(fits).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_bound() {
        let stay = |sizes: &[usize]| stays(sizes).into_iter().collect::<Vec<_>>();
        assert_eq!(stay(&[10, 9000, 20]), [0, 2], "a large one goes");
        assert_eq!(stay(&[8000; 40]), [0, 1, 2, 3], "of many as many stay as there is room for");
        assert_eq!(stay(&[8000, 8000, 20, 8000, 8000, 8000, 30]), [0, 1, 2, 3, 4, 6], "the largest go first");
        assert!(stay(&[]).is_empty());
    }
}
