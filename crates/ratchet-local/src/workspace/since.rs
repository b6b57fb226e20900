//! What changed in the directory of a run since the run took it, or was applied to it.

use ratchet_core::{
    execution::ExecutionRow,
    ids::{Digest, ExecutionId},
};
use ratchet_workspace::{ContentDigest, Contents, Kept, Layer, Marks, TreePath};

use super::{application::known, contents::WithSource, source::keep_now, views::Files};
use crate::{error::LocalError, place::LocalPlace};

/// What changed in the directory of a run.
pub struct Since {
    before: ContentDigest,
    layer: Layer,
    kept: Kept,
}

impl Since {
    /// Compares the directory with what the run knows of it. `None` where nobody else works in it: the run has a checkout of its own, or works in the directory itself.
    pub fn of(files: &Files, row: &ExecutionRow) -> Result<Option<Self>, LocalError> {
        let place = LocalPlace::of(row)?;
        if !place.is_applied() {
            return Ok(None);
        }
        let run = files.of_run(&row.id)?;
        let before = known(files, &row.id, row.directory_later().as_ref())?;
        let kept = keep_now(files.state(), &run.source, &place)?;
        let mut layer = Layer::between(&files.trees().manifest(before)?, &kept.manifest);
        Marks::new(&run.source.directory, &run.source.directory, [].into()).mark(&mut layer);
        let layer = layer.iter().filter(|(_, change)| !change.mark.is_exempt());
        let layer = layer.map(|(path, change)| (path.clone(), change.clone())).collect();
        Ok(Some(Self { before, layer, kept }))
    }

    /// The paths that changed, but for what git keeps for itself: of a repository only that it stands at another commit.
    pub fn paths(&self) -> impl Iterator<Item = &TreePath> {
        let is_told = |path: &TreePath| {
            let bytes = path.as_bytes();
            !path.is_git()
                || [&b".git/HEAD"[..], b".git/packed-refs"].contains(&bytes)
                || bytes.starts_with(b".git/refs/heads/")
        };
        self.layer.iter().map(|(path, _)| path).filter(move |path| is_told(path))
    }

    /// Keeps what changed, as a tree whose layer it is.
    pub fn keep(&self, files: &Files, id: &ExecutionId) -> Result<Digest, LocalError> {
        let run = files.of_run(id)?;
        let contents = WithSource { blobs: files.blobs(), kept: &self.kept };
        for (path, change) in &self.layer {
            let Some((digest, _)) = change.after.as_ref().and_then(ratchet_workspace::Entry::content) else { continue };
            if files.blobs().has(digest) {
                continue;
            }
            let refused =
                |error| LocalError::state_directory(&run.source.directory.join(path.as_path()), "be kept", error);
            files.blobs().write(&contents.read(digest).map_err(refused)?).map_err(refused)?;
        }
        Ok(files.trees().grow(self.before, self.layer.clone())?.to_core())
    }
}
