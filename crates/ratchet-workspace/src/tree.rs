//! The files of a run at one point: a node of a graph, as a commit of git's is. It says what a step changed over what the step found.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, BinaryHeap, HashMap},
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use ratchet_core::ids::StepPath;

use crate::{
    codec::{self, invalid},
    contents::Contents,
    digest::ContentDigest,
    error::WorkspaceError,
    layer::{Layer, Mismatch},
    manifest::Manifest,
    merge::{self, merge},
    path::TreePath,
};

/// A tree of a run. Its bytes, kept as one content, have the digest that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The content that is the manifest of the directory with which the run began.
    pub source: ContentDigest,
    /// The trees that it came from: none for the source itself, one for what a step left, several for a merge.
    pub parents: Vec<ContentDigest>,
    /// How many trees lie between it and the source, on the longest way.
    pub depth: u32,
    /// What changed since the first parent.
    pub layer: Arc<Layer>,
    /// The content that is the layer from the source to this tree, where there is one: whoever knows nothing of the run reads few contents.
    pub since_source: Option<ContentDigest>,
}

/// A tree whose depth is a multiple of this has the layer since the source.
const SINCE_SOURCE_EACH: u32 = if cfg!(test) { 3 } else { 32 };

/// The most parents that are read: as many as a fan-out can have children.
const PARENTS_MAX: u64 = 1 << 20;

const MAGIC: &[u8; 8] = b"rt-node1";

impl Tree {
    /// Its only spelling.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.source.0);
        codec::write_number(&mut out, self.parents.len() as u64)?;
        for parent in &self.parents {
            out.extend_from_slice(&parent.0);
        }
        codec::write_number(&mut out, u64::from(self.depth))?;
        out.push(u8::from(self.since_source.is_some()));
        if let Some(digest) = self.since_source {
            out.extend_from_slice(&digest.0);
        }
        self.layer.write(&mut out)?;
        Ok(out)
    }

    /// Reads what [`Self::to_bytes`] gives; anything else is an error, also where it is hostile.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let mut from =
            bytes.strip_prefix(MAGIC).ok_or_else(|| invalid("it is no tree of a version that is known here"))?;
        let source = read_digest(&mut from)?;
        let count = codec::read_number(&mut from)?;
        if count > PARENTS_MAX {
            return Err(invalid("a tree has too many parents"));
        }
        let parents = (0..count).map(|_| read_digest(&mut from)).collect::<io::Result<Vec<_>>>()?;
        let depth = u32::try_from(codec::read_number(&mut from)?).map_err(|_| invalid("a tree is too deep"))?;
        let since_source = match codec::read_byte(&mut from)? {
            0 => None,
            1 => Some(read_digest(&mut from)?),
            _ => return Err(invalid("a tree has a mark that is not known")),
        };
        let layer = Arc::new(Layer::read(from)?);
        if parents.is_empty() != (depth == 0) || (parents.is_empty() && !layer.is_empty()) {
            return Err(invalid("a tree without a parent is the source, and no other is"));
        }
        Ok(Self { source, parents, depth, layer, since_source })
    }

    /// Whether some bytes begin as a tree's do.
    pub fn is_in(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// The contents that it needs: those of other trees, of layers, of the source's manifest, and of the files that it changed.
    pub fn needs(&self) -> impl Iterator<Item = ContentDigest> {
        let nodes = self.parents.iter().copied().chain([self.source]).chain(self.since_source);
        nodes.chain(self.layer.contents().into_keys())
    }
}

fn read_digest(from: &mut impl Read) -> io::Result<ContentDigest> {
    let mut digest = [0; 32];
    from.read_exact(&mut digest)?;
    Ok(ContentDigest(digest))
}

/// A step whose tree meets others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// Which.
    pub step: StepPath,
    /// What it left.
    pub tree: ContentDigest,
}

/// What came of laying what a step once did onto other files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Laid {
    /// The tree.
    Tree(ContentDigest),
    /// This path is neither as the step found it nor as the step left it.
    Differs(TreePath),
}

/// All trees that some contents hold. Trees never change, so that each is read once.
pub struct Trees {
    contents: Arc<dyn Contents>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    trees: HashMap<ContentDigest, Arc<Tree>>,
    /// The paths that they change.
    paths: usize,
    sources: HashMap<ContentDigest, Manifest>,
}

/// Where trees that change more paths than this are known, they are forgotten: what is needed is read again.
const KNOWN_PATHS_MAX: usize = 500_000;

impl std::fmt::Debug for Trees {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trees").finish_non_exhaustive()
    }
}

impl Trees {
    /// The trees in these contents.
    pub fn new(contents: Arc<dyn Contents>) -> Self {
        Self { contents, known: Mutex::default() }
    }

    /// Where they are.
    pub fn contents(&self) -> &Arc<dyn Contents> {
        &self.contents
    }

    /// The tree of a directory with which a run begins.
    pub fn begin(&self, manifest: &Manifest) -> Result<ContentDigest, WorkspaceError> {
        let mut bytes = Vec::new();
        manifest.write(&mut bytes).map_err(not_written)?;
        let source = self.contents.write(&bytes).map_err(not_written)?;
        self.known().sources.insert(source, manifest.clone());
        self.add(Tree { source, parents: Vec::new(), depth: 0, layer: Arc::default(), since_source: None })
    }

    /// Whether all is still there that says what a tree is with which a run began. `manifest` is what it is.
    pub fn begin_again(&self, tree: ContentDigest, manifest: &Manifest) -> bool {
        let Some(node) = self.get(tree).ok().filter(|node| node.depth == 0 && self.contents.has(node.source)) else {
            return false;
        };
        self.known().sources.insert(node.source, manifest.clone());
        self.contents.has(tree)
    }

    /// A tree by its digest.
    pub fn get(&self, digest: ContentDigest) -> Result<Arc<Tree>, WorkspaceError> {
        if let Some(tree) = self.known().trees.get(&digest) {
            return Ok(tree.clone());
        }
        let bytes = self.contents.read(digest).map_err(|error| not_read(digest, &error))?;
        let tree = Arc::new(Tree::from_bytes(&bytes).map_err(|error| not_read(digest, &error))?);
        self.remember(digest, tree.clone());
        Ok(tree)
    }

    /// The directory with which the run of a tree began.
    pub fn source(&self, tree: &Tree) -> Result<Manifest, WorkspaceError> {
        if let Some(manifest) = self.known().sources.get(&tree.source) {
            return Ok(manifest.clone());
        }
        let bytes = self.contents.read(tree.source).map_err(|error| not_read(tree.source, &error))?;
        let manifest = Manifest::read(bytes.as_slice()).map_err(|error| not_read(tree.source, &error))?;
        let mut known = self.known();
        if known.sources.len() >= SOURCES_MAX {
            known.sources.clear();
        }
        known.sources.insert(tree.source, manifest.clone());
        Ok(manifest)
    }

    /// The tree that a step left whose files were `base`. One that changed nothing leaves what it found.
    pub fn grow(&self, base: ContentDigest, layer: Layer) -> Result<ContentDigest, WorkspaceError> {
        if layer.is_empty() {
            return Ok(base);
        }
        self.join(vec![base], layer)
    }

    /// All that changed from one tree of a run to another.
    pub fn change(&self, from: ContentDigest, to: ContentDigest) -> Result<Layer, WorkspaceError> {
        if from == to {
            return Ok(Layer::default());
        }
        // Mostly the one came of the other, not long ago.
        let start = self.get(from)?;
        let (mut layers, mut at) = (Vec::new(), to);
        loop {
            if at == from {
                return compose(layers.iter().rev().map(|layer: &Arc<Layer>| &**layer));
            }
            let tree = self.get(at)?;
            let Some(parent) = tree.parents.first().filter(|_| tree.depth > start.depth && layers.len() < CHAIN_MAX)
            else {
                break;
            };
            layers.push(tree.layer.clone());
            at = *parent;
        }
        Ok(Layer::from_to(&self.since_source(from)?, &self.since_source(to)?))
    }

    /// All that changed from the source to a tree.
    pub fn since_source(&self, digest: ContentDigest) -> Result<Layer, WorkspaceError> {
        let (first, rest) = self.chain(digest)?;
        compose(first.iter().chain(rest.iter().map(|(_, tree)| &*tree.layer)))
    }

    /// The layers that lead to a tree from the source: one of many steps, where there is one, and that of each step since with its tree.
    #[expect(clippy::type_complexity, reason = "said once, where it is made")]
    pub(crate) fn chain(
        &self,
        digest: ContentDigest,
    ) -> Result<(Option<Layer>, Vec<(ContentDigest, Arc<Tree>)>), WorkspaceError> {
        let (mut chain, mut at) = (Vec::new(), digest);
        let first = loop {
            let tree = self.get(at)?;
            if let Some(layer) = tree.since_source {
                let bytes = self.contents.read(layer).map_err(|error| not_read(layer, &error))?;
                break Some(Layer::read(bytes.as_slice()).map_err(|error| not_read(layer, &error))?);
            }
            let Some(parent) = tree.parents.first().copied() else { break None };
            chain.push((at, tree));
            at = parent;
        };
        chain.reverse();
        Ok((first, chain))
    }

    /// What is there at a tree.
    pub fn manifest(&self, digest: ContentDigest) -> Result<Manifest, WorkspaceError> {
        let mut manifest = self.source(&*self.get(digest)?)?;
        self.since_source(digest)?.apply(&mut manifest).map_err(|mismatch| damaged(digest, &mismatch))?;
        Ok(manifest)
    }

    /// The tree in which those of several steps meet, in the order of the file. Where one of them has all that the others have, it is that one.
    pub fn merge(&self, branches: &[Meeting]) -> Result<ContentDigest, WorkspaceError> {
        let tips: BTreeSet<ContentDigest> = branches.iter().map(|branch| branch.tree).collect();
        let (Some(base), covered) = self.common(&tips)? else {
            let reason = "the branches have nothing in common".to_owned();
            return Err(WorkspaceError::Damaged { what: "the trees of a run".to_owned(), reason });
        };
        let mut met: Vec<(&Meeting, Layer)> = Vec::new();
        for branch in branches.iter().filter(|branch| !covered.contains(&branch.tree)) {
            if !met.iter().any(|(earlier, _)| earlier.tree == branch.tree) {
                met.push((branch, self.change(base, branch.tree)?));
            }
        }
        let own = match met.as_slice() {
            [] => return Ok(base),
            [(only, _)] => return Ok(only.tree),
            [(_, layer), ..] => layer.clone(),
        };
        let parts: Vec<_> = met.iter().map(|(branch, layer)| merge::Branch { step: &branch.step, layer }).collect();
        let merged = merge(&self.manifest(base)?, &parts)?;
        let parents = met.iter().map(|(branch, _)| branch.tree).collect();
        self.join(parents, Layer::from_to(&own, &merged))
    }

    /// Lays what a step did, whose tree was `left`, onto the files of another that would do the same. `exempt` are files that it gives as outputs.
    pub fn lay(&self, base: ContentDigest, left: ContentDigest, exempt: &[TreePath]) -> Result<Laid, WorkspaceError> {
        let mut layer = (*self.get(left)?.layer).clone();
        layer.declare(&exempt.iter().cloned().collect());
        let there = self.manifest(base)?;
        if let Some(path) = layer.obstacle(&there) {
            return Ok(Laid::Differs(path));
        }
        self.grow(base, layer.rebased(&there)).map(Laid::Tree)
    }

    /// The nearest tree that all of some trees came of, and which of them others came of.
    fn common(
        &self,
        tips: &BTreeSet<ContentDigest>,
    ) -> Result<(Option<ContentDigest>, BTreeSet<ContentDigest>), WorkspaceError> {
        // From the deepest to the source: when a tree has its turn, all that came of it had theirs.
        let mut open = BinaryHeap::new();
        let mut reached: HashMap<ContentDigest, BTreeSet<ContentDigest>> = HashMap::new();
        let mut covered = BTreeSet::new();
        for tip in tips {
            reached.entry(*tip).or_default().insert(*tip);
            open.push((self.get(*tip)?.depth, *tip));
        }
        while let Some((_, at)) = open.pop() {
            // It may stand there once for each that came of it.
            let Some(from) = reached.remove(&at) else { continue };
            if tips.contains(&at) && from.len() > 1 {
                covered.insert(at);
            }
            if from.len() == tips.len() {
                return Ok((Some(at), covered));
            }
            for parent in &self.get(at)?.parents {
                reached.entry(*parent).or_default().extend(&from);
                open.push((self.get(*parent)?.depth, *parent));
            }
        }
        Ok((None, covered))
    }

    fn join(&self, parents: Vec<ContentDigest>, layer: Layer) -> Result<ContentDigest, WorkspaceError> {
        let mut depth = 0;
        let mut source = None;
        for parent in &parents {
            let tree = self.get(*parent)?;
            depth = depth.max(tree.depth + 1);
            source.get_or_insert(tree.source);
        }
        let source = source.ok_or_else(|| not_written(invalid("a tree has no parent")))?;
        let since_source = match (depth.is_multiple_of(SINCE_SOURCE_EACH), parents.first()) {
            (true, Some(first)) => {
                let before = self.since_source(*first)?;
                let mut bytes = Vec::new();
                compose([&before, &layer].into_iter())?.write(&mut bytes).map_err(not_written)?;
                Some(self.contents.write(&bytes).map_err(not_written)?)
            }
            _ => None,
        };
        self.add(Tree { source, parents, depth, layer: Arc::new(layer), since_source })
    }

    fn add(&self, tree: Tree) -> Result<ContentDigest, WorkspaceError> {
        let digest = self.contents.write(&tree.to_bytes().map_err(not_written)?).map_err(not_written)?;
        self.remember(digest, Arc::new(tree));
        Ok(digest)
    }

    fn remember(&self, digest: ContentDigest, tree: Arc<Tree>) {
        let mut known = self.known();
        known.paths += tree.layer.len() + 1;
        if known.paths > KNOWN_PATHS_MAX {
            known.trees.clear();
            known.paths = tree.layer.len() + 1;
        }
        known.trees.insert(digest, tree);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most layers that are read one by one to find a change.
const CHAIN_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// The most manifests that are known at a time.
const SOURCES_MAX: usize = 16;

fn compose<'a>(layers: impl Iterator<Item = &'a Layer>) -> Result<Layer, WorkspaceError> {
    Layer::compose(layers).map_err(|mismatch| WorkspaceError::Damaged {
        what: "the trees of a run".to_owned(),
        reason: mismatch.to_string(),
    })
}

fn damaged(digest: ContentDigest, mismatch: &Mismatch) -> WorkspaceError {
    WorkspaceError::Damaged { what: format!("the tree {digest}"), reason: mismatch.to_string() }
}

/// What is not there, or not what it was, is damage. A place that does not answer is not.
fn not_read(digest: ContentDigest, error: &io::Error) -> WorkspaceError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::PermissionDenied => {
            let source = io::Error::new(error.kind(), error.to_string());
            WorkspaceError::reading(std::path::Path::new(&format!("the tree {digest}")), source)
        }
        _ => WorkspaceError::Damaged { what: format!("the tree {digest}"), reason: error.to_string() },
    }
}

fn not_written(error: io::Error) -> WorkspaceError {
    WorkspaceError::writing(std::path::Path::new("the contents of the run"), error)
}
