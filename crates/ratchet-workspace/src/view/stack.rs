//! What a view lies over: the kept directory, and the layers of the steps before.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::{
    contents::{self, Contents, Copier},
    error::WorkspaceError,
    kept::Kept,
    layer::{Layer, Mismatch},
    lower::{self, Holes},
    manifest::{Entry, Manifest},
    path::TreePath,
    scan::{Item, in_parallel_each, list},
    stamp::StatCache,
};

/// The files that a step begins with, as layers over the kept directory.
#[derive(Debug, Clone)]
pub struct Stack {
    kept: Arc<Kept>,
    layers: Vec<Stacked>,
    manifest: Manifest,
}

#[derive(Debug, Clone)]
struct Stacked {
    layer: Arc<Layer>,
    /// The folder that holds its changes, where one lies on this machine.
    tree: Option<PathBuf>,
}

/// More layers than this are made into one before a view lies over them: the kernel takes 500.
const LAYERS_MAX: usize = 128;

impl Stack {
    /// The kept directory itself.
    pub fn new(kept: Arc<Kept>) -> Self {
        let manifest = kept.manifest.clone();
        Self { kept, layers: Vec::new(), manifest }
    }

    /// What is there.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Lays a layer over it. `tree` is what [`super::View::into_tree`] gave for the view that made exactly this layer.
    pub fn push(&mut self, layer: Arc<Layer>, tree: Option<PathBuf>) -> Result<(), Mismatch> {
        layer.apply(&mut self.manifest)?;
        if !layer.is_empty() {
            self.layers.push(Stacked { layer, tree });
        }
        Ok(())
    }

    /// As [`Self::push`], where a layer that does not match is damage.
    pub(crate) fn lay(&mut self, layer: Arc<Layer>, tree: Option<PathBuf>) -> Result<(), WorkspaceError> {
        self.push(layer, tree).map_err(|mismatch| broken(&mismatch))
    }

    /// How many layers there are.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Whether every layer lies in a folder.
    pub(crate) fn is_laid(&self) -> bool {
        self.layers.iter().all(|stacked| stacked.tree.is_some())
    }

    /// The same with all layers made into one, which is written to a folder where one is given.
    pub(crate) fn folded(&self, folder: Option<&Path>, contents: &dyn Contents) -> Result<Self, WorkspaceError> {
        let layers = self.layers.iter().map(|stacked| &*stacked.layer);
        let composed = Layer::compose(layers).map_err(|mismatch| broken(&mismatch))?;
        if let Some(folder) = folder {
            lower::write(folder, Holes::Told, &composed, &self.manifest, &mut |path, entry, to| {
                self.link_or_give(path, entry, to, contents)
            })?;
        }
        let stacked = Stacked { layer: Arc::new(composed), tree: folder.map(Path::to_owned) };
        Ok(Self { kept: self.kept.clone(), layers: vec![stacked], manifest: self.manifest.clone() })
    }

    /// The content of a file.
    pub fn read(&self, path: &TreePath, entry: &Entry, contents: &dyn Contents) -> Result<Vec<u8>, WorkspaceError> {
        if let Some(place) = self.locate(path) {
            return fs::read(&place).map_err(|error| WorkspaceError::reading(&place, error));
        }
        let Some((digest, _)) = entry.content() else { return Ok(Vec::new()) };
        contents.read(digest).map_err(|error| WorkspaceError::reading(path.as_path(), error))
    }

    /// The folders that a view lies over, the topmost first. Layers that lie nowhere on this machine are written to a folder.
    pub(crate) fn lowers(&self, folder: &Path, contents: &dyn Contents) -> Result<Vec<PathBuf>, WorkspaceError> {
        let failed = |error| WorkspaceError::writing(folder, error);
        DirBuilder::new().mode(0o700).create(folder).map_err(failed)?;
        let mut lowers = self.kept.trees.clone();
        if self.layers.len() > LAYERS_MAX {
            let all = folder.join("all");
            self.folded(Some(&all), contents)?;
            lowers.insert(0, all);
            return Ok(lowers);
        }
        let mut manifest = self.kept.manifest.clone();
        for (number, Stacked { layer, tree }) in self.layers.iter().enumerate() {
            layer.apply(&mut manifest).map_err(|mismatch| broken(&mismatch))?;
            let lower = tree.clone().unwrap_or_else(|| folder.join(number.to_string()));
            if tree.is_none() {
                let give: lower::PlaceFile<'_> = &mut |_, entry, to| contents::give(contents, entry, to);
                lower::write(&lower, Holes::Told, layer, &manifest, give)?;
            }
            lowers.insert(0, lower);
        }
        Ok(lowers)
    }

    /// Writes all of it to a new folder, and says what is known of the files there. `tree` is its manifest, whose links may be otherwise.
    pub(crate) fn copy(
        &self,
        folder: &Path,
        tree: &Manifest,
        contents: &dyn Contents,
    ) -> Result<StatCache, WorkspaceError> {
        let copier = Copier::default();
        let whole = Layer::between(&Manifest::default(), tree);
        let mut files = Vec::new();
        lower::write(folder, Holes::Untold, &whole, tree, &mut |path, entry, to| {
            files.push((path.clone(), entry.clone(), to.to_owned()));
            Ok(())
        })?;
        in_parallel_each(&files, |(path, entry, to)| match self.locate(path) {
            Some(from) => copy_one(&copier, (path, entry), &from, to),
            None => contents::give(contents, entry, to),
        })?;
        let begun = SystemTime::now();
        let known = list(folder, &|_| false)?.into_iter().filter_map(|(path, item)| match item {
            Item::File { stamp, .. } if !stamp.is_doubtful_at(begun) => {
                let (digest, _) = self.manifest.get(&path)?.content()?;
                Some((path, stamp, digest))
            }
            _ => None,
        });
        Ok(StatCache::new(known.collect()))
    }

    /// Where the content of a file lies on this machine, if it does.
    pub(super) fn locate(&self, path: &TreePath) -> Option<PathBuf> {
        for Stacked { layer, tree } in self.layers.iter().rev() {
            if layer.get(path).is_some() {
                return tree.as_ref().map(|tree| tree.join(path.as_path()));
            }
        }
        self.kept.locate(path)
    }

    fn link_or_give(
        &self,
        path: &TreePath,
        entry: &Entry,
        to: &Path,
        contents: &dyn Contents,
    ) -> Result<(), WorkspaceError> {
        match self.locate(path) {
            // Both are the engine's own, and nobody writes to either.
            Some(from) => fs::hard_link(from, to).map_err(|error| WorkspaceError::writing(to, error)),
            None => contents::give(contents, entry, to),
        }
    }
}

fn broken(mismatch: &Mismatch) -> WorkspaceError {
    WorkspaceError::Damaged { what: "the stack of layers".to_owned(), reason: mismatch.to_string() }
}

/// Copies a kept content, and believes nothing about it.
fn copy_one(copier: &Copier, (path, entry): (&TreePath, &Entry), from: &Path, to: &Path) -> Result<(), WorkspaceError> {
    match copier.copy(from, to)? {
        Some(copied) if Some((copied.digest, copied.stamp.size)) == entry.content() => Ok(()),
        _ => Err(WorkspaceError::Damaged {
            what: format!("the kept content {}", from.display()),
            reason: format!("it is not what {path} was"),
        }),
    }
}
