//! The files of runs in a deployment: trees in the bucket, read, written and merged as data. A folder is only made of one where a step's process runs.

mod captured;
mod place;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use ratchet_core::{execution::ExecutionRow, ids::Digest};
use ratchet_definition::files::{FileAccess, NoFiles};
use ratchet_engine::ports::{BlobStore, Branch, Laid, WorkspaceError, Workspaces, Written};
use ratchet_files::{CapturedFiles, TreeFiles, TreeSource, refused, tree_digest};
use ratchet_workspace::{
    ContentDigest, Contents, Exclude, Kept, STAGE_PREFIX, Stack, TreePath, Trees, WorkspaceError as FilesError,
};

pub use self::{captured::CapturedBlobs, place::DeployedPlace};

/// The folder in which tasks work, where nobody says otherwise.
pub const FOLDER: &str = "/ratchet";

/// The folder below that of the tasks in which the files of a step are shown.
pub const VIEW: &str = "view";

/// The folder of the files below that of the tasks: the same in all of them.
pub fn workspace_in(folder: &Path) -> PathBuf {
    folder.join(VIEW).join("files")
}

/// The workspaces of a deployment's runs.
pub struct BlobWorkspaces {
    trees: Arc<Trees>,
    contents: Arc<dyn Contents>,
    blobs: Arc<dyn BlobStore>,
    directory: PathBuf,
    captured: CapturedBlobs,
}

impl BlobWorkspaces {
    /// The workspaces whose trees are in these contents, which are those of the store, and whose tasks work in a folder.
    pub fn new(contents: Arc<dyn Contents>, blobs: Arc<dyn BlobStore>, folder: &Path) -> Self {
        let captured = CapturedBlobs::new(contents.clone(), folder);
        let trees = Arc::new(Trees::new(contents.clone()));
        Self { trees, contents, blobs, directory: workspace_in(folder), captured }
    }

    /// The tree of a run that begins without a file.
    pub async fn empty(&self) -> Result<Digest, WorkspaceError> {
        ratchet_files::empty(self.trees.clone()).await
    }

    fn of_tree(&self, execution: &ExecutionRow, tree: &Digest) -> Result<TreeFiles<RunTrees>, WorkspaceError> {
        let place = DeployedPlace::of(&execution.options.place);
        let exclude = (!place.exclude.is_empty()).then(|| Exclude::new(&place.exclude)).transpose();
        let source = RunTrees {
            trees: self.trees.clone(),
            contents: self.contents.clone(),
            directory: self.directory.clone(),
            captured: self.captured.clone(),
            exclude: exclude.map_err(|error| refused("be found", &error))?,
        };
        Ok(TreeFiles::new(source, tree_digest(tree).map_err(|error| refused("be found", &error))?))
    }
}

#[async_trait]
impl Workspaces for BlobWorkspaces {
    async fn files(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
    ) -> Result<Arc<dyn FileAccess>, WorkspaceError> {
        Ok(match tree {
            Some(tree) => Arc::new(self.of_tree(execution, tree)?),
            // A run that was started before there were any.
            None => Arc::new(NoFiles),
        })
    }

    async fn write(
        &self,
        execution: &ExecutionRow,
        tree: Option<&Digest>,
        path: &str,
        content: &[u8],
    ) -> Result<Written, WorkspaceError> {
        let Some(tree) = tree else {
            let reason = "the run has no files".to_owned();
            return Err(WorkspaceError::Damaged { what: path.to_owned(), reason });
        };
        let over = self.of_tree(execution, tree)?;
        ratchet_files::write((over, self.trees.clone(), self.blobs.as_ref()), path, content).await
    }

    async fn merge(&self, _execution: &ExecutionRow, branches: &[Branch]) -> Result<Digest, WorkspaceError> {
        ratchet_files::merge(self.trees.clone(), branches).await
    }

    async fn lay(
        &self,
        _execution: &ExecutionRow,
        base: &Digest,
        left: &Digest,
        outputs: &[String],
    ) -> Result<Laid, WorkspaceError> {
        let contents = self.contents.clone();
        // The bucket compared each content with its digest when it took it. That it is still there is found out, and it counts as new.
        let verify = move |digest| {
            if contents.has(digest) { Ok(()) } else { Err("it is not there any more".to_owned()) }
        };
        ratchet_files::lay(self.trees.clone(), verify, (base, left), outputs).await
    }

    async fn content(&self, _execution: &ExecutionRow, tree: &Digest) -> Result<Digest, WorkspaceError> {
        let (trees, contents) = (self.trees.clone(), self.contents.clone());
        ratchet_files::content(move |tree| trees.content(tree, &*contents), tree).await
    }

    async fn size(&self, _execution: &ExecutionRow, left: &Digest) -> Result<u64, WorkspaceError> {
        ratchet_files::size(self.trees.clone(), left).await
    }
}

/// The trees of a run.
struct RunTrees {
    trees: Arc<Trees>,
    contents: Arc<dyn Contents>,
    directory: PathBuf,
    captured: CapturedBlobs,
    exclude: Option<Exclude>,
}

impl TreeSource for RunTrees {
    fn directory(&self) -> &Path {
        &self.directory
    }

    fn hides(&self, path: &Path) -> bool {
        let is_hidden = |path: TreePath| {
            path.as_bytes().starts_with(STAGE_PREFIX.as_bytes())
                || self.exclude.as_ref().is_some_and(|exclude| exclude.contains(&path))
        };
        path.ancestors().filter_map(|path| TreePath::new(path).ok()).any(is_hidden)
    }

    fn stack(&self, tree: ContentDigest) -> Result<Arc<Stack>, FilesError> {
        let manifest = self.trees.manifest(tree)?;
        let digest = manifest.digest();
        Ok(Arc::new(Stack::new(Arc::new(Kept { manifest, digest, trees: Vec::new(), files_copied: 0 }))))
    }

    fn contents(&self) -> &dyn Contents {
        &*self.contents
    }

    fn captured(&self) -> &dyn CapturedFiles {
        &self.captured
    }
}

#[cfg(test)]
mod tests {
    use ratchet_testkit::{builders::execution_row, memory::MemoryBlobStore};
    use serde_json::json;

    use super::*;
    use crate::BlobContents;

    #[tokio::test]
    async fn what_a_workflow_leaves_out_is_not_written() {
        let blobs: Arc<dyn BlobStore> = Arc::new(MemoryBlobStore::default());
        let contents = Arc::new(BlobContents::new(blobs.clone()).unwrap());
        let workspaces = BlobWorkspaces::new(contents, blobs, Path::new(FOLDER));
        let mut run = execution_row("run");
        run.options.place = json!({"exclude": ["build"]});
        let empty = workspaces.empty().await.unwrap();
        for (path, is_outside) in [("build/out", true), ("build", true), ("built", false), ("a/build", false)] {
            let written = workspaces.write(&run, Some(&empty), path, b"x").await;
            assert_eq!(matches!(written, Err(WorkspaceError::Outside(_))), is_outside, "{path}: {written:?}");
        }
        let without = workspaces.write(&run, None, "built", b"x").await;
        assert!(matches!(without, Err(WorkspaceError::Damaged { .. })), "{without:?}");
    }
}
