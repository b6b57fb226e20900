//! What the engine asks of trees: they are merged, changed and measured as data, and nothing is written to a folder for it.

use std::{fmt, sync::Arc};

use ratchet_core::{ids::Digest, output::FileValue};
use ratchet_definition::files::FileError;
use ratchet_engine::ports::{BlobStore, Branch, Laid, WorkspaceError, Written};
use ratchet_workspace::{ContentDigest, Manifest, Meeting, TreePath, Trees, WorkspaceError as FilesError};

use crate::tree_files::{TreeFiles, TreeSource};

/// A tree's digest, as its contents are kept.
pub fn tree_digest(tree: &Digest) -> Result<ContentDigest, FilesError> {
    ContentDigest::from_core(tree)
        .ok_or_else(|| FilesError::Damaged { what: format!("the tree {tree}"), reason: "that is no digest".to_owned() })
}

/// The tree of a run that begins without a file.
pub async fn empty(trees: Arc<Trees>) -> Result<Digest, WorkspaceError> {
    apart("begin without a file", move || trees.begin(&Manifest::default())).await.map(ContentDigest::to_core)
}

/// Writes a file over a tree, and keeps its content. The path is relative and stays inside.
pub async fn write<S: TreeSource + 'static>(
    (over, trees, blobs): (TreeFiles<S>, Arc<Trees>, &dyn BlobStore),
    path: &str,
    content: &[u8],
) -> Result<Written, WorkspaceError> {
    let action = format!("write {path}");
    let base = over.tree();
    // Whether it may be written is known before it is kept.
    let change = over.writing(path, ContentDigest::of(content), content.len() as u64);
    let (layer, path) = change.map_err(|error| not_written(&action, error))?;
    let content = blobs.put(content).await.map_err(|error| refused(&action, &error))?;
    let tree = apart(&action, move || trees.grow(base, layer)).await?;
    Ok(Written { file: FileValue { path, content }, tree: Some(tree.to_core()) })
}

/// The tree in which those of several steps meet, in the order of the file.
pub async fn merge(trees: Arc<Trees>, branches: &[Branch]) -> Result<Digest, WorkspaceError> {
    let action = "be brought together";
    let mut meetings = Vec::new();
    for Branch { step, tree } in branches {
        meetings.push(Meeting { step: step.clone(), tree: known(action, tree)? });
    }
    let merged = blocking(move || trees.merge(&meetings)).await;
    match merged {
        Ok(Ok(tree)) => Ok(tree.to_core()),
        Ok(Err(FilesError::Conflict { conflicts })) => {
            let named = conflicts.first().and_then(|conflict| {
                let of = |name: &str| branches.iter().find(|branch| branch.step.to_string() == name);
                let (first, second) = (of(&conflict.steps[0])?, of(&conflict.steps[1])?);
                Some(WorkspaceError::Conflict {
                    path: conflict.path.to_string(),
                    first: first.step.clone(),
                    second: second.step.clone(),
                })
            });
            Err(named.unwrap_or_else(|| refused(action, &"branches are at odds")))
        }
        Ok(Err(error)) => Err(of_files(action, error)),
        Err(reason) => Err(refused(action, &reason)),
    }
}

/// Lays what a step once changed onto another tree. `verify` says what is wrong with a content that the tree needs.
pub async fn lay(
    trees: Arc<Trees>,
    verify: impl Fn(ContentDigest) -> Result<(), String> + Send + 'static,
    (base, left): (&Digest, &Digest),
    outputs: &[String],
) -> Result<Laid, WorkspaceError> {
    let action = "take a kept change";
    let (base, left) = (known(action, base)?, known(action, left)?);
    let outputs: Vec<TreePath> = outputs.iter().filter_map(|path| TreePath::new(path).ok()).collect();
    let laid = apart(action, move || {
        let laid = trees.lay(base, left, &outputs)?;
        if matches!(laid, ratchet_workspace::Laid::Tree(_)) {
            for digest in trees.get(left)?.layer.contents().into_keys() {
                let what = || format!("the content {digest}");
                verify(digest).map_err(|reason| FilesError::Damaged { what: what(), reason })?;
            }
        }
        Ok(laid)
    });
    Ok(match laid.await? {
        ratchet_workspace::Laid::Tree(tree) => Laid::Tree(tree.to_core()),
        ratchet_workspace::Laid::Differs(path) => Laid::Differs(path.to_string()),
    })
}

/// What the files of a tree are, so far as a process can tell, which `look` finds out.
pub async fn content(
    look: impl FnOnce(ContentDigest) -> Result<ContentDigest, FilesError> + Send + 'static,
    tree: &Digest,
) -> Result<Digest, WorkspaceError> {
    let action = "be read";
    let tree = known(action, tree)?;
    apart(action, move || look(tree)).await.map(ContentDigest::to_core)
}

/// The bytes of the files that the step changed which left a tree.
pub async fn size(trees: Arc<Trees>, left: &Digest) -> Result<u64, WorkspaceError> {
    let action = "be read";
    let left = known(action, left)?;
    apart(action, move || Ok(trees.get(left)?.layer.bytes())).await
}

fn known(action: &str, tree: &Digest) -> Result<ContentDigest, WorkspaceError> {
    tree_digest(tree).map_err(|error| refused(action, &error))
}

fn not_written(action: &str, error: FileError) -> WorkspaceError {
    match error {
        FileError::Outside(path) => WorkspaceError::Outside(path),
        FileError::Unreadable { reason, .. } => refused(action, &reason),
        FileError::NotFound(_) | FileError::Unavailable => refused(action, &error),
    }
}

fn of_files(action: &str, error: FilesError) -> WorkspaceError {
    match error {
        FilesError::Damaged { what, reason } => WorkspaceError::Damaged { what, reason },
        other => refused(action, &other),
    }
}

/// What is done to files did not work.
pub fn refused(action: &str, reason: &dyn fmt::Display) -> WorkspaceError {
    WorkspaceError::Refused { action: action.to_owned(), reason: reason.to_string() }
}

/// Does work that waits for a disk or a store where it holds nobody up.
async fn apart<T: Send + 'static>(
    action: &str,
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    match blocking(work).await {
        Ok(done) => done.map_err(|error| of_files(action, error)),
        Err(reason) => Err(refused(action, &reason)),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<Result<T, FilesError>, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}
