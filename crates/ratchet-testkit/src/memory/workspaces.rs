use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use globset::GlobBuilder;
use ratchet_core::{
    execution::ExecutionRow,
    history::sha256_hex,
    ids::{Digest, ExecutionId},
    output::FileValue,
};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_engine::ports::{WorkspaceError, Workspaces};

use super::{MemoryBlobStore, lock};

/// The files of runs in maps. A path is what it says: there are no links.
#[derive(Debug)]
pub struct MemoryWorkspaces {
    blobs: Arc<MemoryBlobStore>,
    files: Mutex<BTreeMap<ExecutionId, BTreeMap<String, Vec<u8>>>>,
}

impl MemoryWorkspaces {
    /// Workspaces without files, which capture into this store.
    pub fn new(blobs: Arc<MemoryBlobStore>) -> Self {
        Self { blobs, files: Mutex::default() }
    }

    /// Puts a file where a run finds it, as a step's process does.
    pub fn place(&self, execution: &ExecutionId, path: &str, content: &[u8]) {
        lock(&self.files).entry(execution.clone()).or_default().insert(path.to_owned(), content.to_vec());
    }
}

#[async_trait]
impl Workspaces for MemoryWorkspaces {
    async fn files(&self, execution: &ExecutionRow) -> Result<Arc<dyn FileAccess>, WorkspaceError> {
        let files = lock(&self.files).get(&execution.id).cloned().unwrap_or_default();
        Ok(Arc::new(Files { blobs: Arc::clone(&self.blobs), files }))
    }

    async fn write(&self, execution: &ExecutionRow, path: &str, content: &[u8]) -> Result<FileValue, WorkspaceError> {
        let path = inside(path).ok_or_else(|| WorkspaceError::Outside(path.to_owned()))?;
        let content_ref = self.blobs.keep(content);
        self.place(&execution.id, &path, content);
        Ok(FileValue { path, content: content_ref })
    }
}

/// The files of one run at one moment.
struct Files {
    blobs: Arc<MemoryBlobStore>,
    files: BTreeMap<String, Vec<u8>>,
}

impl FileAccess for Files {
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        self.blobs
            .read(&file.content.digest)
            .map_err(|error| FileError::Unreadable { path: file.path.clone(), reason: error.to_string() })
    }

    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError> {
        let unchanged = self.digest(&file.path)?.is_some_and(|digest| digest == file.content.digest);
        Ok(if unchanged { file.path.clone() } else { format!("/captured/{}/{}", file.content.digest, file.path) })
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let inner = inside(path).ok_or_else(|| FileError::Outside(path.to_owned()))?;
        self.files.get(&inner).cloned().ok_or_else(|| FileError::NotFound(path.to_owned()))
    }

    fn digest(&self, path: &str) -> Result<Option<Digest>, FileError> {
        let inner = inside(path).ok_or_else(|| FileError::Outside(path.to_owned()))?;
        if let Some(content) = self.files.get(&inner) {
            return Ok(Some(Digest::new(sha256_hex(content))));
        }
        let folder = if inner.is_empty() { inner } else { format!("{inner}/") };
        let listing: Vec<String> = self
            .files
            .iter()
            .filter_map(|(path, content)| Some(format!("{}\0{}\n", path.strip_prefix(&folder)?, sha256_hex(content))))
            .collect();
        Ok((!listing.is_empty()).then(|| Digest::new(sha256_hex(listing.concat().as_bytes()))))
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, FileError> {
        inside(pattern).ok_or_else(|| FileError::Outside(pattern.to_owned()))?;
        let matcher = GlobBuilder::new(pattern.trim_start_matches("./"))
            .literal_separator(true)
            .build()
            .map_err(|error| FileError::Unreadable { path: pattern.to_owned(), reason: error.to_string() })?
            .compile_matcher();
        Ok(self.files.keys().filter(|path| matcher.is_match(path)).cloned().collect())
    }
}

/// The path without `.` and `..`, or `None` where it leaves the workspace.
fn inside(path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{builders::execution_row, contract};

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::workspaces(async || {
            let workspaces = MemoryWorkspaces::new(Arc::default());
            (Arc::new(workspaces) as Arc<dyn Workspaces>, execution_row("run"))
        })
        .await;
    }
}
