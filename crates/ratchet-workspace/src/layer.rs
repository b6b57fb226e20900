//! What changed in a tree: path by path, what was there before and what is there after.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    io::{self, BufReader, Read, Write},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    codec::{self, invalid},
    digest::{ContentDigest, Hashing},
    manifest::{BYTES_MAX, COMPRESSION, ENTRIES_MAX, Entry, Manifest, end},
    path::TreePath,
};

/// What kind of file a changed path is to git, to tools and to the workflow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A file like any other.
    #[default]
    Plain,
    /// Git ignores it.
    Ignored,
    /// A tool left it behind: a cache, a trace.
    Leaving,
    /// A step declares it as a file output.
    Declared,
}

impl Mark {
    /// Whether two branches may both change it: the later in the file wins.
    pub fn is_exempt(self) -> bool {
        self != Self::Plain
    }

    /// Whether a change of it reaches the user's directory.
    pub fn is_applied(self) -> bool {
        matches!(self, Self::Plain | Self::Declared)
    }
}

/// What happened to one path. Before and after differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was there.
    pub before: Option<Entry>,
    /// What is there.
    pub after: Option<Entry>,
    /// What kind of file it is.
    pub mark: Mark,
}

/// The changes of a step, or of several, over the tree that they began with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    changes: BTreeMap<TreePath, Change>,
}

/// A tree is not one that a layer can lie over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path} is not what the changes begin with")]
pub struct Mismatch {
    /// The path that is otherwise.
    pub path: TreePath,
}

impl Layer {
    /// What leads from one tree to another.
    pub fn between(before: &Manifest, after: &Manifest) -> Self {
        let mut changes = BTreeMap::new();
        let (mut left, mut right) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((left, _)), Some((right, _))) => left.cmp(right),
            };
            let before = if order.is_le() { left.next() } else { None };
            let after = if order.is_ge() { right.next() } else { None };
            if let Some((path, _)) = before.or(after)
                && before.map(|(_, entry)| entry) != after.map(|(_, entry)| entry)
            {
                let (before, after) = (before.map(|(_, entry)| entry.clone()), after.map(|(_, entry)| entry.clone()));
                changes.insert(path.clone(), Change { before, after, mark: Mark::Plain });
            }
        }
        Self { changes }
    }

    /// Notes what happened to a path, where anything did.
    pub fn insert(&mut self, path: TreePath, change: Change) {
        if change.before == change.after {
            self.changes.remove(&path);
        } else {
            self.changes.insert(path, change);
        }
    }

    /// What happened to a path.
    pub fn get(&self, path: &TreePath) -> Option<&Change> {
        self.changes.get(path)
    }

    /// All changes in order: a folder stands directly before what is in it.
    pub fn iter(&self) -> btree_map::Iter<'_, TreePath, Change> {
        self.changes.iter()
    }

    /// How many paths changed.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Marks every change.
    pub fn mark(&mut self, mark: impl Fn(&TreePath, &Change) -> Mark) {
        for (path, change) in &mut self.changes {
            change.mark = mark(path, change);
        }
    }

    /// Marks what steps give as outputs.
    pub fn declare(&mut self, outputs: &BTreeSet<TreePath>) {
        self.mark(|path, change| if path.holds_any(outputs) { Mark::Declared } else { change.mark });
    }

    /// The contents that the changed paths have now, each once, with its bytes.
    pub fn contents(&self) -> BTreeMap<ContentDigest, u64> {
        self.changes.values().filter_map(|change| change.after.as_ref()?.content()).collect()
    }

    /// The bytes that the changed files have now.
    pub fn bytes(&self) -> u64 {
        self.changes.values().filter_map(|change| change.after.as_ref()?.content()).map(|(_, size)| size).sum()
    }

    /// Lays it over a tree that has what it begins with. What does not match is left as it is, and told.
    pub fn apply(&self, tree: &mut Manifest) -> Result<(), Mismatch> {
        if let Some((path, _)) = self.iter().find(|(path, change)| tree.get(path) != change.before.as_ref()) {
            return Err(Mismatch { path: path.clone() });
        }
        for (path, change) in self {
            tree.set(path.clone(), change.after.clone());
        }
        Ok(())
    }

    /// The first path of a tree that has neither what the layer begins with nor what it ends with, or where there is no place for what it brings.
    /// Files that nobody minds being replaced may be otherwise.
    pub fn obstacle(&self, tree: &Manifest) -> Option<TreePath> {
        let fits =
            |now: Option<&Entry>, then: &Option<Entry>| now.map(Entry::portable) == then.as_ref().map(Entry::portable);
        for (path, change) in &self.changes {
            let now = tree.get(path);
            if !change.mark.is_exempt() && !fits(now, &change.before) && !fits(now, &change.after) {
                return Some(path.clone());
            }
            let after = |path: &TreePath| match self.changes.get(path) {
                Some(change) => change.after.as_ref(),
                None => tree.get(path),
            };
            match &change.after {
                Some(entry) => {
                    let parent = path.parent().filter(|parent| !after(parent).is_some_and(Entry::is_folder));
                    let below = || tree.below(path).map(|(path, _)| path).find(|path| after(path).is_some());
                    let left = if entry.is_folder() { None } else { below().cloned() };
                    if parent.is_some() || left.is_some() {
                        return parent.or(left);
                    }
                }
                None => {
                    if let Some((left, _)) = tree.below(path).find(|(path, _)| after(path).is_some()) {
                        return Some(left.clone());
                    }
                }
            }
        }
        None
    }

    /// The layer that leads from a tree with the same start to the same end, where [`Self::obstacle`] finds nothing.
    pub fn rebased(&self, tree: &Manifest) -> Self {
        let mut rebased = Self::default();
        for (path, change) in &self.changes {
            let before = tree.get(path).cloned();
            rebased.insert(path.clone(), Change { before, after: change.after.clone(), mark: change.mark });
        }
        rebased
    }

    /// The layer that leads from the end of one to the end of another that begins with the same tree.
    pub fn from_to(from: &Self, to: &Self) -> Self {
        let mut layer = Self::default();
        for (path, change) in from {
            // What the other left alone is there as it was at the start.
            let after = to.get(path).map_or(&change.before, |change| &change.after).clone();
            let mark = to.get(path).map_or(change.mark, |change| change.mark);
            layer.insert(path.clone(), Change { before: change.after.clone(), after, mark });
        }
        for (path, change) in to.iter().filter(|(path, _)| from.get(path).is_none()) {
            layer.insert(path.clone(), change.clone());
        }
        layer
    }

    /// One layer that does what all of them do, one after the other.
    pub fn compose<'a>(layers: impl IntoIterator<Item = &'a Self>) -> Result<Self, Mismatch> {
        let mut composed = Self::default();
        for (path, change) in layers.into_iter().flat_map(Self::iter) {
            let before = match composed.changes.get(path) {
                Some(earlier) if earlier.after != change.before => return Err(Mismatch { path: path.clone() }),
                Some(earlier) => earlier.before.clone(),
                None => change.before.clone(),
            };
            // A path that went back to what it was stays, until it is known that the next layer begins with that.
            composed.changes.insert(path.clone(), Change { before, ..change.clone() });
        }
        composed.changes.retain(|_, change| change.before != change.after);
        Ok(composed)
    }

    /// The digest that names it.
    pub fn digest(&self) -> ContentDigest {
        let mut out = Hashing::new(io::sink());
        // A sink takes everything.
        let _ = self.write_plain(&mut out);
        out.finish().0
    }

    /// Writes its file: the changes, compressed; contents stand in it by their digests.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut out = zstd::Encoder::new(out, COMPRESSION)?;
        self.write_plain(&mut out)?;
        out.finish().map(drop)
    }

    fn write_plain(&self, out: &mut impl Write) -> io::Result<()> {
        let mut out = io::BufWriter::new(out);
        out.write_all(MAGIC)?;
        codec::write_number(&mut out, self.changes.len() as u64)?;
        for (path, change) in &self.changes {
            codec::write_bytes(&mut out, path.as_bytes())?;
            let present = u8::from(change.before.is_some()) | u8::from(change.after.is_some()) << 1;
            out.write_all(&[present | (change.mark as u8) << 2])?;
            for entry in [&change.before, &change.after].into_iter().flatten() {
                codec::write_entry(&mut out, entry)?;
            }
        }
        out.flush()
    }

    /// Reads a layer's file; anything else is an error, also where it is hostile: no path leaves the tree, and nothing is put below what is no folder.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut from = BufReader::new(zstd::Decoder::new(from)?.take(BYTES_MAX));
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(invalid("it is no layer of a version that is known here"));
        }
        let count = codec::read_number(&mut from)?;
        let mut changes: BTreeMap<TreePath, Change> = BTreeMap::new();
        for _ in 0..count {
            if changes.len() >= ENTRIES_MAX {
                return Err(invalid("a layer has too many changes"));
            }
            let path = codec::read_path(&mut from)?;
            let change = read_change(&mut from)?;
            if changes.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(invalid("the paths of a layer are not in order"));
            }
            changes.insert(path, change);
        }
        end(&mut from)?;
        let layer = Self { changes };
        match layer.misplaced() {
            None => Ok(layer),
            Some(path) => Err(invalid(&format!("{path} does not lie in a folder"))),
        }
    }

    /// A path that the layer puts into what it says is no folder.
    pub(crate) fn misplaced(&self) -> Option<&TreePath> {
        let lies_in_no_folder = |(path, change): &(&TreePath, &Change)| {
            change.after.is_some()
                && path.ancestors().any(|above| {
                    self.changes.get(&above).is_some_and(|above| !above.after.as_ref().is_some_and(Entry::is_folder))
                })
        };
        self.changes.iter().find(lies_in_no_folder).map(|(path, _)| path)
    }
}

impl<'a> IntoIterator for &'a Layer {
    type Item = (&'a TreePath, &'a Change);
    type IntoIter = btree_map::Iter<'a, TreePath, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

const MAGIC: &[u8; 8] = b"rt-layr1";

fn read_change(from: &mut impl Read) -> io::Result<Change> {
    let head = codec::read_byte(from)?;
    let mark = match head >> 2 {
        0 => Mark::Plain,
        1 => Mark::Ignored,
        2 => Mark::Leaving,
        3 => Mark::Declared,
        _ => return Err(invalid("a change has a mark that is not known")),
    };
    let before = (head & 1 != 0).then(|| codec::read_entry(from)).transpose()?;
    let after = (head & 2 != 0).then(|| codec::read_entry(from)).transpose()?;
    if before == after { Err(invalid("a change changes nothing")) } else { Ok(Change { before, after, mark }) }
}

impl FromIterator<(TreePath, Change)> for Layer {
    fn from_iter<T: IntoIterator<Item = (TreePath, Change)>>(changes: T) -> Self {
        let mut layer = Self::default();
        changes.into_iter().for_each(|(path, change)| layer.insert(path, change));
        layer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    proptest! {
        #![proptest_config(testing::cases(256))]

        #[test]
        fn what_lies_between_two_trees_leads_from_one_to_the_other(before in testing::manifests(), after in testing::manifests()) {
            let layer = Layer::between(&before, &after);
            let mut tree = before.clone();
            layer.apply(&mut tree).unwrap();
            prop_assert_eq!(&tree, &after);
            prop_assert_eq!(layer.is_empty(), before == after);
            prop_assert_eq!(layer.misplaced(), None);
            let mut written = Vec::new();
            layer.write(&mut written).unwrap();
            prop_assert_eq!(Layer::read(written.as_slice()).unwrap(), layer);
        }

        #[test]
        fn one_layer_does_what_several_do(trees in proptest::collection::vec(testing::manifests(), 2..6)) {
            let layers: Vec<_> = trees.windows(2).map(|pair| Layer::between(&pair[0], &pair[1])).collect();
            let composed = Layer::compose(&layers).unwrap();
            prop_assert_eq!(&composed, &Layer::between(&trees[0], &trees[trees.len() - 1]));
            // In whatever way they are grouped.
            let (left, right) = layers.split_at(layers.len() / 2);
            let grouped = [Layer::compose(left).unwrap(), Layer::compose(right).unwrap()];
            prop_assert_eq!(Layer::compose(&grouped).unwrap(), composed);
        }

        #[test]
        fn a_tree_that_has_either_end_is_no_obstacle(before in testing::manifests(), after in testing::manifests(), pick: u64) {
            let layer = Layer::between(&before, &after);
            let mut tree = before.clone();
            for (number, (path, change)) in layer.iter().enumerate() {
                if pick >> (number % 64) & 1 == 1 {
                    tree.set(path.clone(), change.after.clone());
                }
            }
            if tree.misplaced().is_none() {
                prop_assert_eq!(layer.obstacle(&tree), None);
                layer.rebased(&tree).apply(&mut tree).unwrap();
                prop_assert_eq!(tree, after);
            }
        }

        #[test]
        fn what_meets_no_obstacle_gives_a_tree(before in testing::manifests(), after in testing::manifests(), other in testing::manifests()) {
            let mut layer = Layer::between(&before, &after);
            layer.mark(|_, _| Mark::Ignored);
            if layer.obstacle(&other).is_none() {
                let mut tree = other.clone();
                layer.rebased(&other).apply(&mut tree).unwrap();
                prop_assert_eq!(tree.misplaced(), None);
                prop_assert!(layer.iter().all(|(path, change)| tree.get(path) == change.after.as_ref()));
            }
        }
    }

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn file_entry(text: &str) -> Entry {
        Entry::File { mode: 0o644, size: text.len() as u64, digest: ContentDigest::of(text.as_bytes()) }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands for what is there, beside None")]
    fn file(text: &str) -> Option<Entry> {
        Some(file_entry(text))
    }

    fn change(before: Option<Entry>, after: Option<Entry>) -> Change {
        Change { before, after, mark: Mark::Plain }
    }

    #[test]
    fn an_edit_is_an_obstacle_unless_nobody_minds() {
        let tree: Manifest = [(path("a"), file_entry("mine"))].into_iter().collect();
        for (before, after, mark, stands) in [
            (file("one"), file("two"), Mark::Plain, true),
            (None, file("two"), Mark::Plain, true),
            (file("one"), None, Mark::Plain, true),
            (file("mine"), None, Mark::Plain, false),
            (None, file("mine"), Mark::Plain, false),
            (file("one"), file("two"), Mark::Declared, false),
            (file("one"), file("two"), Mark::Ignored, false),
        ] {
            let layer: Layer = [(path("a"), Change { before, after, mark })].into_iter().collect();
            assert_eq!(layer.obstacle(&tree), stands.then(|| path("a")), "{layer:?}");
        }
    }

    #[test]
    fn layers_that_do_not_follow_each_other_are_told() {
        let layers: Vec<Layer> = [change(None, file("one")), change(file("two"), file("three"))]
            .into_iter()
            .map(|change| [(path("a"), change)].into_iter().collect())
            .collect();
        assert_eq!(Layer::compose(&layers), Err(Mismatch { path: path("a") }));
        let mut tree = Manifest::default();
        assert_eq!(layers[1].apply(&mut tree), Err(Mismatch { path: path("a") }));
        assert!(tree.is_empty());
    }

    #[test]
    fn hostile_layers_are_refused() {
        type Written<'a> = (&'a [u8], u8, Option<Entry>, Option<Entry>);
        let written = |changes: &[Written<'_>]| {
            let mut bytes = MAGIC.to_vec();
            codec::write_number(&mut bytes, changes.len() as u64).unwrap();
            for (path, head, before, after) in changes {
                codec::write_bytes(&mut bytes, path).unwrap();
                bytes.push(*head);
                for entry in [before, after].into_iter().flatten() {
                    codec::write_entry(&mut bytes, entry).unwrap();
                }
            }
            zstd::encode_all(bytes.as_slice(), 1).unwrap()
        };
        let link = || Some(Entry::Link { target: crate::path::LinkTarget::new("/etc") });
        for (changes, reason) in [
            (&[(&b"../a"[..], 2, None, file("x"))][..], "\"../a\" is no path inside a workspace"),
            (&[(b"/etc/a", 2, None, file("x"))], "\"/etc/a\" is no path inside a workspace"),
            (&[(b"a/./b", 2, None, file("x"))], "\"a/./b\" is no path inside a workspace"),
            (&[(b"a", 2, None, link()), (b"a/passwd", 2, None, file("x"))], "a/passwd does not lie in a folder"),
            (&[(b"a", 1, file("x"), None), (b"a/b", 2, None, file("x"))], "a/b does not lie in a folder"),
            (&[(b"a", 3, file("x"), file("x"))], "a change changes nothing"),
            (&[(b"a", 0, None, None)], "a change changes nothing"),
            (&[(b"a", 0x12, None, file("x"))], "a change has a mark that is not known"),
            (&[(b"b", 2, None, file("x")), (b"a", 2, None, file("x"))], "the paths of a layer are not in order"),
        ] {
            let error = Layer::read(written(changes).as_slice()).unwrap_err();
            assert_eq!(error.to_string(), reason);
        }
        let mut endless = MAGIC.to_vec();
        codec::write_number(&mut endless, u64::MAX).unwrap();
        assert!(Layer::read(zstd::encode_all(endless.as_slice(), 1).unwrap().as_slice()).is_err());
    }
}
