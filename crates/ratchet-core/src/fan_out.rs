//! Fan-outs: one child for each value of a list.
//!
//! Children start in lanes: so many at once as the step allows. When a child settles, its row names the child that takes over its lane, in the same
//! write; that child's row names it back. So a lane moves on exactly once, whoever handles the report and however often.

use serde::{Deserialize, Serialize};

use crate::{
    output::{BlobRef, Output},
    step::StepRow,
};

/// Bytes of JSON from which on a list is cut into another chunk.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Where the values of a list are, so that a child reads its own without reading them all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemIndex {
    /// How many values there are.
    pub count: u32,
    /// The chunks in order.
    pub chunks: Vec<ItemChunk>,
}

/// Some neighbouring values of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemChunk {
    /// The position of the first.
    pub first: u32,
    /// A list of [`Output`] as JSON.
    pub values: BlobRef,
}

impl ItemIndex {
    /// The chunk that holds a value.
    pub fn chunk_of(&self, item: u32) -> Option<&ItemChunk> {
        let after = self.chunks.partition_point(|chunk| chunk.first <= item);
        after.checked_sub(1).and_then(|position| self.chunks.get(position))
    }
}

/// Cuts a list into chunks of about [`CHUNK_BYTES`]: the position of each chunk's first value, and its values as JSON.
pub fn chunks(items: &[Output]) -> Vec<(u32, Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut open: Vec<u8> = Vec::new();
    let mut first = 0;
    for (position, item) in (0_u32..).zip(items) {
        if open.is_empty() {
            first = position;
            open.push(b'[');
        } else {
            open.push(b',');
        }
        // An output is plain data with text keys, which always has a JSON form.
        open.extend(serde_json::to_vec(item).unwrap_or_default());
        if open.len() >= CHUNK_BYTES {
            open.push(b']');
            chunks.push((first, std::mem::take(&mut open)));
        }
    }
    if !open.is_empty() {
        open.push(b']');
        chunks.push((first, open));
    }
    chunks
}

/// How many children start at once.
pub fn lanes(max_parallel: Option<u32>, deployment: u32, count: u32) -> u32 {
    max_parallel.unwrap_or(deployment).min(deployment.max(1)).clamp(1, count.max(1))
}

/// The child that takes over a lane, given the highest child that was started. The first children begin a lane each, and so never take one over.
pub fn successor(last_started: Option<u32>, lanes: u32, count: u32) -> Option<u32> {
    let next = last_started.map_or(0, |last| last + 1).max(lanes);
    (next < count).then_some(next)
}

/// What a settled child's lane needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Nothing: there is no successor, or it has taken over.
    MovedOn,
    /// The successor is to be started.
    Start(u32),
    /// The successor was started by another lane: another child is to be found.
    Taken,
}

/// Where the lane of a settled child stands, given the row of the successor that it names.
pub fn lane(settled: &StepRow, successor: Option<&StepRow>) -> Lane {
    match (settled.successor, successor) {
        (None, _) => Lane::MovedOn,
        (Some(next), None) => Lane::Start(next),
        (Some(_), Some(row)) if row.predecessor == settled.key.path.child => Lane::MovedOn,
        (Some(_), Some(_)) => Lane::Taken,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::Digest;

    #[test]
    fn every_item_is_in_the_chunk_that_the_index_names() {
        for (count, size) in [(0, 1), (1, 1), (10, 40_000), (5_000, 100), (3, 200_000)] {
            let items: Vec<Output> =
                (0..count).map(|n| Output::Json(json!(format!("{n}{}", "x".repeat(size))))).collect();
            let chunks = chunks(&items);
            let index = ItemIndex {
                count,
                chunks: chunks
                    .iter()
                    .map(|(first, _)| ItemChunk { first: *first, values: BlobRef { digest: Digest::new(""), size: 0 } })
                    .collect(),
            };
            for (position, item) in (0_u32..).zip(&items) {
                let first = index.chunk_of(position).expect("a chunk").first;
                let (_, bytes) = chunks.iter().find(|(start, _)| *start == first).expect("its bytes");
                let values: Vec<Output> = serde_json::from_slice(bytes).expect("a list");
                assert_eq!(&values[(position - first) as usize], item);
            }
            assert!(chunks.iter().all(|(_, bytes)| bytes.len() < CHUNK_BYTES + size + 100));
        }
    }

    #[test]
    fn lanes_are_bounded_by_step_deployment_and_list() {
        assert_eq!(lanes(None, 4, 10), 4);
        assert_eq!(lanes(Some(2), 4, 10), 2);
        assert_eq!(lanes(Some(20), 4, 10), 4);
        assert_eq!(lanes(Some(20), 40, 3), 3);
        assert_eq!(lanes(None, 0, 0), 1);
    }
}
