//! What a tree of files is: path by path, kind, permissions and content, and nothing that depends on when or where it lies.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
    io::{self, BufReader, Read, Write},
    iter::Peekable,
    ops::Bound,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, invalid},
    digest::{ContentDigest, Hashing},
    path::{LinkTarget, TreePath},
};

/// The bits of a mode that count.
pub(crate) const MODE_BITS: u32 = 0o7777;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Entry {
    /// A folder.
    Folder {
        /// Its permissions.
        mode: u32,
    },
    /// A file.
    File {
        /// Its permissions.
        mode: u32,
        /// Bytes.
        size: u64,
        /// The SHA-256 of its content.
        digest: ContentDigest,
    },
    /// A symbolic link. It has no permissions.
    Link {
        /// Where it points.
        target: LinkTarget,
    },
}

impl Entry {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        matches!(self, Self::Folder { .. })
    }

    /// The content of a file.
    pub fn content(&self) -> Option<(ContentDigest, u64)> {
        match self {
            Self::File { digest, size, .. } => Some((*digest, *size)),
            Self::Folder { .. } | Self::Link { .. } => None,
        }
    }

    /// The same as another user's machine would have it: of the permissions only whether a file can be executed.
    pub fn portable(&self) -> Self {
        match self {
            Self::Folder { .. } => Self::Folder { mode: 0o755 },
            Self::File { mode, size, digest } => {
                Self::File { mode: if mode & 0o100 == 0 { 0o644 } else { 0o755 }, size: *size, digest: *digest }
            }
            Self::Link { .. } => self.clone(),
        }
    }
}

/// A tree of files by path, without its root. A folder stands directly before what is in it.
///
/// A clone shares what the two have in common: the trees of a run differ in little, and each may have many files.
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    shared: Arc<BTreeMap<TreePath, Entry>>,
    /// What is otherwise than there: `None` where it is gone.
    own: BTreeMap<TreePath, Option<Entry>>,
    len: usize,
}

/// Where more than this share of a tree is otherwise, and more than so many paths, it is made one again.
const OWN_SHARE: usize = 8;
const OWN_MIN: usize = if cfg!(test) { 4 } else { 256 };

impl Manifest {
    /// What lies at a path.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        match self.own.get(path) {
            Some(own) => own.as_ref(),
            None => self.shared.get(path),
        }
    }

    /// All of it in order.
    pub fn iter(&self) -> Entries<'_> {
        Entries { shared: self.shared.range(..).peekable(), own: self.own.range(..).peekable() }
    }

    /// How many files, folders and links.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.iter().filter_map(|(_, entry)| entry.content()).map(|(_, size)| size).sum()
    }

    /// What lies below a folder, itself left out.
    pub fn below<'a>(&'a self, folder: &'a TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> {
        let after = || (Bound::Excluded(folder), Bound::Unbounded);
        let entries =
            Entries { shared: self.shared.range(after()).peekable(), own: self.own.range(after()).peekable() };
        entries.take_while(|(path, _)| path.is_within(folder))
    }

    /// Sets or removes what lies at a path.
    pub fn set(&mut self, path: TreePath, entry: Option<Entry>) {
        match (self.get(&path).is_some(), entry.is_some()) {
            (false, true) => self.len += 1,
            (true, false) => self.len -= 1,
            _ => {}
        }
        if self.own.is_empty()
            && let Some(shared) = Arc::get_mut(&mut self.shared)
        {
            match entry {
                Some(entry) => drop(shared.insert(path, entry)),
                None => drop(shared.remove(&path)),
            }
            return;
        }
        self.own.insert(path, entry);
        if self.own.len() > OWN_MIN.max(self.shared.len() / OWN_SHARE) {
            *self = self.iter().map(|(path, entry)| (path.clone(), entry.clone())).collect();
        }
    }

    /// The first path that lies in something that is no folder.
    pub fn misplaced(&self) -> Option<&TreePath> {
        // The folders that the path before lies in, and itself if it is one: a path in order can only lie in one of these.
        let mut open: Vec<&TreePath> = Vec::new();
        self.iter().find_map(|(path, entry)| {
            while open.pop_if(|folder| !path.is_within(folder)).is_some() {}
            let parts = path.as_bytes().split(|byte| *byte == b'/').count();
            let is_misplaced = parts != open.len() + 1;
            if entry.is_folder() {
                open.push(path);
            }
            is_misplaced.then_some(path)
        })
    }

    /// The digest of the whole tree: of two trees the same where, and only where, they are the same.
    pub fn digest(&self) -> ContentDigest {
        digest_of(self, Entry::clone)
    }

    /// The digest of the tree as a machine with another user and another umask would have it.
    pub fn portable_digest(&self) -> ContentDigest {
        digest_of(self, Entry::portable)
    }

    /// Writes it, compressed.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut out = zstd::Encoder::new(out, COMPRESSION)?;
        write_entries(&mut out, self, Entry::clone)?;
        out.finish().map(drop)
    }

    /// Reads what [`Self::write`] writes; anything else is an error, also where it is hostile.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut from = BufReader::new(zstd::Decoder::new(from)?.take(BYTES_MAX));
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(invalid("it is no manifest of a version that is known here"));
        }
        let count = codec::read_number(&mut from)?;
        let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for _ in 0..count {
            if entries.len() >= ENTRIES_MAX {
                return Err(invalid("a manifest has too many entries"));
            }
            let path = codec::read_path(&mut from)?;
            let entry = codec::read_entry(&mut from)?;
            if entries.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(invalid("the paths of a manifest are not in order"));
            }
            entries.insert(path, entry);
        }
        end(&mut from)?;
        let manifest = Self::from(entries);
        match manifest.misplaced() {
            None => Ok(manifest),
            Some(path) => Err(invalid(&format!("{path} does not lie in a folder"))),
        }
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        let is_same = Arc::ptr_eq(&self.shared, &other.shared) && self.own == other.own;
        is_same || (self.len == other.len && self.iter().eq(other))
    }
}

impl Eq for Manifest {}

/// The paths of a tree in order, with what lies there.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    shared: Peekable<btree_map::Range<'a, TreePath, Entry>>,
    own: Peekable<btree_map::Range<'a, TreePath, Option<Entry>>>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a TreePath, &'a Entry);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.shared.peek(), self.own.peek()) {
                (_, None) => return self.shared.next(),
                (None, Some(_)) => Ordering::Greater,
                (Some((shared, _)), Some((own, _))) => shared.cmp(own),
            };
            if order.is_lt() {
                return self.shared.next();
            }
            if order.is_eq() {
                self.shared.next();
            }
            if let Some((path, Some(entry))) = self.own.next() {
                return Some((path, entry));
            }
        }
    }
}

impl<'a> IntoIterator for &'a Manifest {
    type Item = (&'a TreePath, &'a Entry);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<BTreeMap<TreePath, Entry>> for Manifest {
    fn from(entries: BTreeMap<TreePath, Entry>) -> Self {
        Self { len: entries.len(), shared: Arc::new(entries), own: BTreeMap::new() }
    }
}

impl FromIterator<(TreePath, Entry)> for Manifest {
    fn from_iter<T: IntoIterator<Item = (TreePath, Entry)>>(entries: T) -> Self {
        Self::from(BTreeMap::from_iter(entries))
    }
}

/// The most paths that a tree or a layer may have.
pub const ENTRIES_MAX: usize = 10_000_000;

/// The most bytes that a manifest or a layer may have once it is decompressed.
pub(crate) const BYTES_MAX: u64 = 2 << 30;

/// The fastest levels compress paths well enough: digests do not compress at all.
pub(crate) const COMPRESSION: i32 = 1;

const MAGIC: &[u8; 8] = b"rt-tree1";

fn digest_of(entries: &Manifest, shape: impl Fn(&Entry) -> Entry) -> ContentDigest {
    let mut out = Hashing::new(io::sink());
    // A sink takes everything.
    let _ = write_entries(&mut out, entries, shape);
    out.finish().0
}

fn write_entries(out: &mut impl Write, entries: &Manifest, shape: impl Fn(&Entry) -> Entry) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    out.write_all(MAGIC)?;
    codec::write_number(&mut out, entries.len() as u64)?;
    for (path, entry) in entries {
        codec::write_bytes(&mut out, path.as_bytes())?;
        codec::write_entry(&mut out, &shape(entry))?;
    }
    out.flush()
}

/// Nothing may follow.
pub(crate) fn end(from: &mut impl Read) -> io::Result<()> {
    match from.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(invalid("something follows after the end")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(manifest in testing::manifests()) {
            let mut written = Vec::new();
            manifest.write(&mut written).unwrap();
            prop_assert_eq!(Manifest::read(written.as_slice()).unwrap(), manifest);
        }

        #[test]
        fn the_digest_tells_trees_apart(left in testing::manifests(), right in testing::manifests()) {
            prop_assert_eq!(left.digest() == right.digest(), left == right);
        }

        #[test]
        fn damage_is_an_error_or_another_tree(manifest in testing::manifests(), at: prop::sample::Index, bit in 0..8_u8) {
            let mut plain = Vec::new();
            write_entries(&mut plain, &manifest, Entry::clone).unwrap();
            *at.get_mut(&mut plain) ^= 1 << bit;
            let damaged = zstd::encode_all(plain.as_slice(), 1).unwrap();
            if let Ok(read) = Manifest::read(damaged.as_slice()) {
                prop_assert_ne!(read, manifest);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_shared_is_never_changed(before in testing::manifests(), after in testing::manifests(), more in testing::manifests()) {
            let mut tree = before.clone();
            for step in [&after, &more, &before, &after] {
                crate::layer::Layer::between(&tree.clone(), step).apply(&mut tree).unwrap();
                prop_assert_eq!(&tree, step);
                prop_assert_eq!((tree.len(), tree.is_empty(), tree.digest()), (step.len(), step.is_empty(), step.digest()));
                for (path, _) in step {
                    prop_assert!(tree.below(path).eq(step.below(path)));
                    prop_assert_eq!(tree.get(path), step.get(path));
                }
            }
        }
    }

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn hostile_manifests_are_refused() {
        let file = |bytes: &mut Vec<u8>, path: &[u8]| {
            codec::write_bytes(bytes, path).unwrap();
            codec::write_entry(bytes, &Entry::File { mode: 0o644, size: 0, digest: ContentDigest::of(b"") }).unwrap();
        };
        let refused = |paths: &[&[u8]], rest: &[u8]| {
            let mut bytes = MAGIC.to_vec();
            codec::write_number(&mut bytes, paths.len() as u64).unwrap();
            for path in paths {
                file(&mut bytes, path);
            }
            bytes.extend_from_slice(rest);
            Manifest::read(zstd::encode_all(bytes.as_slice(), 1).unwrap().as_slice())
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(refused(&[b"a", b"b"], b""), None);
        for (paths, reason) in [
            (&[&b"../a"[..]][..], "\"../a\" is no path inside a workspace"),
            (&[b"/etc/passwd"], "\"/etc/passwd\" is no path inside a workspace"),
            (&[b"a/../../b"], "\"a/../../b\" is no path inside a workspace"),
            (&[b"b", b"a"], "the paths of a manifest are not in order"),
            (&[b"a", b"a"], "the paths of a manifest are not in order"),
            (&[b"a", b"a/b"], "a/b does not lie in a folder"),
            (&[b"a/b"], "a/b does not lie in a folder"),
        ] {
            assert_eq!(refused(paths, b"").as_deref(), Some(reason), "{paths:?}");
        }
        assert_eq!(refused(&[b"a"], b"x").as_deref(), Some("something follows after the end"));
        assert!(Manifest::read(&b"no zstd"[..]).is_err());
    }

    #[test]
    fn on_another_machine_only_execution_counts() {
        let tree = |modes: [u32; 2]| -> Manifest {
            let file = Entry::File { mode: modes[1], size: 1, digest: ContentDigest::of(b"x") };
            [(path("d"), Entry::Folder { mode: modes[0] }), (path("d/f"), file)].into_iter().collect()
        };
        let (here, there, runs) = (tree([0o755, 0o644]), tree([0o775, 0o664]), tree([0o755, 0o744]));
        assert_ne!(here.digest(), there.digest());
        assert_eq!(here.portable_digest(), there.portable_digest());
        assert_ne!(here.portable_digest(), runs.portable_digest());
        assert_eq!(here.below(&path("d")).count(), 1);
    }
}
