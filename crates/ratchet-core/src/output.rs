//! What a step gives to others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::Digest;

/// The outputs of a step by name.
pub type Outputs = BTreeMap<String, Output>;

/// A large value that lives in the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// The SHA-256 of the content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// A file as it was when the step that made it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileValue {
    /// Where it lies, relative to the workspace's root, with `/`.
    pub path: String,
    /// Its content, kept in the blob store.
    #[serde(flatten)]
    pub content: BlobRef,
}

/// One output. The tag stands outside the data, so that nothing that a process printed can pass for a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A value.
    Json(Value),
    /// A file of the workspace.
    File(FileValue),
    /// One entry a child of a fan-out, in the order of the items; `None` for a failed or skipped child.
    Each(Vec<Option<Output>>),
    /// An [`Output`], written as JSON, that is too large for a row.
    Stored(BlobRef),
}
