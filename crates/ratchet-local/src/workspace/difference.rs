//! What lies between two trees of a run, for whoever wants to see it.

use std::{io, sync::Arc};

use ratchet_core::ids::{Digest, ExecutionId};
use ratchet_files::tree_digest;
use ratchet_workspace::{Contents, Entry, Layer};

use super::{
    contents::WithSource,
    views::{Files, RunFiles},
};
use crate::error::LocalError;

/// What lies between two trees of a run.
pub struct Difference {
    files: Files,
    run: Arc<RunFiles>,
    layer: Layer,
}

impl Difference {
    /// What leads from one tree of a run to another.
    pub fn between(files: &Files, id: &ExecutionId, from: &Digest, to: &Digest) -> Result<Self, LocalError> {
        let run = files.of_run(id)?;
        let layer = files.trees().change(tree_digest(from)?, tree_digest(to)?)?;
        Ok(Self { files: files.clone(), run, layer })
    }

    /// The changes, path by path.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The content of a file that is there before or after; `None` of what is no file.
    pub fn read(&self, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
        let contents = WithSource { blobs: self.files.blobs(), kept: self.run.kept() };
        entry.content().map(|(digest, _)| contents.read(digest)).transpose()
    }
}
