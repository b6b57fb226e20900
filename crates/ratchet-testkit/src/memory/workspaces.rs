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
use ratchet_engine::ports::{Branch, Laid, WorkspaceError, Workspaces, Written};

use super::{MemoryBlobStore, lock};

/// The files of runs in maps. A path is what it says: there are no links.
#[derive(Debug)]
pub struct MemoryWorkspaces {
    blobs: Arc<MemoryBlobStore>,
    /// Of runs that work in the directory itself.
    directories: Mutex<BTreeMap<ExecutionId, BTreeMap<String, Vec<u8>>>>,
    trees: Mutex<BTreeMap<Digest, Tree>>,
    /// What each tree that a step left was before.
    grown: Mutex<BTreeMap<Digest, Tree>>,
}

/// By path, all that was ever written there: the last is what is there now. Of two trees, one goes on from the other where it begins with the same.
type Tree = BTreeMap<String, Vec<Vec<u8>>>;

impl MemoryWorkspaces {
    /// Workspaces without files, which capture into this store.
    pub fn new(blobs: Arc<MemoryBlobStore>) -> Self {
        Self { blobs, directories: Mutex::default(), trees: Mutex::default(), grown: Mutex::default() }
    }

    /// A tree without files.
    pub fn empty_tree(&self) -> Digest {
        self.keep(Tree::new())
    }

    /// The tree that somebody leaves who writes files over another tree.
    pub fn leave<P: AsRef<str>, C: AsRef<[u8]>>(
        &self,
        tree: &Digest,
        written: impl IntoIterator<Item = (P, C)>,
    ) -> Digest {
        let mut files = self.tree(tree);
        for (path, content) in written {
            files.entry(path.as_ref().to_owned()).or_default().push(content.as_ref().to_vec());
        }
        let left = self.keep(files);
        lock(&self.grown).entry(left.clone()).or_insert_with(|| self.tree(tree));
        left
    }

    /// The files of a tree.
    pub fn content(&self, tree: &Digest) -> BTreeMap<String, Vec<u8>> {
        let last = |(path, mut written): (String, Vec<Vec<u8>>)| Some((path, written.pop()?));
        self.tree(tree).into_iter().filter_map(last).collect()
    }

    fn tree(&self, tree: &Digest) -> Tree {
        lock(&self.trees).get(tree).cloned().unwrap_or_default()
    }

    fn keep(&self, tree: Tree) -> Digest {
        let digest = Digest::new(sha256_hex(format!("{tree:?}").as_bytes()));
        lock(&self.trees).insert(digest.clone(), tree);
        digest
    }
}

#[async_trait]
impl Workspaces for MemoryWorkspaces {
    async fn files(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
    ) -> Result<Arc<dyn FileAccess>, WorkspaceError> {
        let files = match tree {
            Some(tree) => self.content(tree),
            None => lock(&self.directories).get(&execution.id).cloned().unwrap_or_default(),
        };
        Ok(Arc::new(Files { blobs: Arc::clone(&self.blobs), files }))
    }

    async fn write(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
        path: &str,
        content: &[u8],
    ) -> Result<Written, WorkspaceError> {
        let path = inside(path).ok_or_else(|| WorkspaceError::Outside(path.to_owned()))?;
        let tree = tree.map(|tree| self.leave(tree, [(&path, content)]));
        if tree.is_none() {
            let mut directories = lock(&self.directories);
            directories.entry(execution.id.clone()).or_default().insert(path.clone(), content.to_vec());
        }
        Ok(Written { file: FileValue { path, content: self.blobs.keep(content) }, tree })
    }

    async fn merge(&self, _execution: &ExecutionRow, branches: &[Branch]) -> Result<Digest, WorkspaceError> {
        let mut merged = Tree::new();
        let mut last = BTreeMap::new();
        for branch in branches {
            for (path, written) in self.tree(&branch.tree) {
                let before = merged.entry(path.clone()).or_default();
                if before.starts_with(&written) || before.last() == written.last() {
                    continue;
                }
                if !written.starts_with(before) {
                    let first = last.remove(&path).unwrap_or_else(|| branch.step.clone());
                    return Err(WorkspaceError::Conflict { path, first, second: branch.step.clone() });
                }
                *before = written;
                last.insert(path, branch.step.clone());
            }
        }
        Ok(self.keep(merged))
    }

    async fn lay(
        &self,
        _execution: &ExecutionRow,
        base: &Digest,
        left: &Digest,
        outputs: &[String],
    ) -> Result<Laid, WorkspaceError> {
        let found = lock(&self.grown).get(left).cloned().unwrap_or_default();
        let Some(left) = lock(&self.trees).get(left).cloned() else {
            let (what, reason) = (format!("the tree {left}"), "it is not there".to_owned());
            return Err(WorkspaceError::Damaged { what, reason });
        };
        let mut files = self.tree(base);
        for (path, written) in left {
            let before = found.get(&path).and_then(|written| written.last());
            let Some(after) = written.last().filter(|after| before != Some(after)) else { continue };
            let there = files.get(&path).and_then(|written| written.last());
            if there == Some(after) {
                continue;
            }
            if there != before && !outputs.iter().any(|output| inside(output).as_ref() == Some(&path)) {
                return Ok(Laid::Differs(path));
            }
            files.entry(path).or_default().push(after.clone());
        }
        let laid = self.keep(files);
        lock(&self.grown).entry(laid.clone()).or_insert_with(|| self.tree(base));
        Ok(Laid::Tree(laid))
    }

    async fn content(&self, _execution: &ExecutionRow, tree: &Digest) -> Result<Digest, WorkspaceError> {
        let mut files = self.content(tree);
        files.retain(|path, _| !path.split('/').any(|part| part == "__pycache__"));
        Ok(Digest::new(sha256_hex(format!("{files:?}").as_bytes())))
    }

    async fn size(&self, _execution: &ExecutionRow, left: &Digest) -> Result<u64, WorkspaceError> {
        let found = lock(&self.grown).get(left).cloned().unwrap_or_default();
        let changed = self.tree(left).into_iter().filter(|(path, written)| found.get(path) != Some(written));
        Ok(changed.filter_map(|(_, written)| written.last().map(|content| content.len() as u64)).sum())
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
            let tree = workspaces.empty_tree();
            (Arc::new(workspaces) as Arc<dyn Workspaces>, ExecutionRow { tree: Some(tree), ..execution_row("run") })
        })
        .await;
        contract::directories(async || {
            let workspaces = MemoryWorkspaces::new(Arc::default());
            (Arc::new(workspaces) as Arc<dyn Workspaces>, execution_row("run"))
        })
        .await;
    }
}
