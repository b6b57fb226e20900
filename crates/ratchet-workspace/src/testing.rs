//! Trees for tests: random ones as data, and on the disk.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::Write as _,
    os::unix::{
        ffi::OsStringExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
};

use proptest::{prelude::*, test_runner::RngSeed};

use crate::{
    digest::ContentDigest,
    manifest::{Entry, Manifest},
    path::{LinkTarget, TreePath},
};

/// A tree as a test makes it: files with their content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Folder(u32),
    File(u32, Vec<u8>),
    Link(LinkTarget),
}

/// A tree by path, whose parents are all folders.
pub(crate) type Tree = BTreeMap<TreePath, Node>;

/// The cases that every run of the tests tries. `PROPTEST_RNG_SEED` tries others.
const SEED: u64 = 1;

/// So many of them.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    match config.rng_seed {
        RngSeed::Random if std::env::var_os("PROPTEST_RNG_SEED").is_none() => {
            ProptestConfig { rng_seed: RngSeed::Fixed(SEED), ..config }
        }
        _ => config,
    }
}

/// Random trees, small, of few names: so that two of them have much in common and much that clashes.
pub(crate) fn trees() -> impl Strategy<Value = Tree> {
    proptest::collection::vec((paths(), nodes()), 0..14).prop_map(|nodes| {
        let mut tree = Tree::new();
        for (path, node) in nodes {
            put(&mut tree, &path, node);
        }
        tree
    })
}

/// Puts something into a tree: folders above it are made, and what was in the way goes.
pub(crate) fn put(tree: &mut Tree, path: &TreePath, node: Node) {
    let above: Vec<_> = path.ancestors().collect();
    for folder in above.into_iter().rev() {
        if !matches!(tree.get(&folder), Some(Node::Folder(_))) {
            tree.insert(folder, Node::Folder(0o755));
        }
    }
    let was_folder = matches!(tree.get(path), Some(Node::Folder(_)));
    if was_folder && !matches!(node, Node::Folder(_)) {
        tree.retain(|other, _| !other.is_within(path));
    }
    tree.insert(path.clone(), node);
}

fn paths() -> impl Strategy<Value = TreePath> {
    let names: Vec<&[u8]> = vec![b"a", b"b", b"c", b"a.b", b"caf\xe9", b"new\nline", b"100%"];
    proptest::collection::vec(proptest::sample::select(names), 1..4)
        .prop_map(|parts| TreePath::from_bytes(&parts.join(&b'/')).expect("names make a path"))
}

fn nodes() -> impl Strategy<Value = Node> {
    prop_oneof![
        1 => proptest::sample::select(vec![0o755, 0o700, 0o775]).prop_map(Node::Folder),
        4 => (proptest::sample::select(vec![0o644, 0o755, 0o600, 0o444]), proptest::sample::select(vec![&b""[..], b"one", b"two", b"\0\xff"]))
            .prop_map(|(mode, content)| Node::File(mode, content.to_vec())),
        1 => proptest::sample::select(vec!["a", "./b", "nowhere", "/etc/hostname"]).prop_map(|to| Node::Link(LinkTarget::new(to))),
    ]
}

/// Random manifests.
pub(crate) fn manifests() -> impl Strategy<Value = Manifest> {
    trees().prop_map(|tree| manifest(&tree))
}

/// What a tree is.
pub(crate) fn manifest(tree: &Tree) -> Manifest {
    let entry = |node: &Node| match node {
        Node::Folder(mode) => Entry::Folder { mode: *mode },
        Node::File(mode, content) => {
            Entry::File { mode: *mode, size: content.len() as u64, digest: ContentDigest::of(content) }
        }
        Node::Link(target) => Entry::Link { target: target.clone() },
    };
    tree.iter().map(|(path, node)| (path.clone(), entry(node))).collect()
}

/// Something that a program does to a tree.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// Puts something to a path; folders above are made, and what was in the way goes.
    Put(TreePath, Node),
    /// Removes what is nearest to a path, with all in it.
    Remove(prop::sample::Index),
    /// Renames what is nearest to one to another path.
    Rename(prop::sample::Index, TreePath),
    /// Writes the same content again.
    Touch(prop::sample::Index),
}

/// Random edits.
pub(crate) fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        4 => (paths(), nodes()).prop_map(|(path, node)| Edit::Put(path, node)),
        2 => any::<prop::sample::Index>().prop_map(Edit::Remove),
        2 => (any::<prop::sample::Index>(), paths()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => any::<prop::sample::Index>().prop_map(Edit::Touch),
    ];
    proptest::collection::vec(edit, 0..8)
}

impl Edit {
    /// Does it to a tree as data.
    pub(crate) fn make(&self, tree: &mut Tree) {
        if let Some(plan) = self.on(tree) {
            for step in plan {
                step.on_data(tree);
            }
        }
    }

    /// Does it to a tree as data and to the same tree on the disk.
    pub(crate) fn make_on_disk(&self, tree: &mut Tree, root: &Path) {
        for step in self.on(tree).unwrap_or_default() {
            step.on_disk(tree, root);
            step.on_data(tree);
        }
    }

    /// What it comes to, where there is anything that it can be done to.
    fn on(&self, tree: &Tree) -> Option<Vec<Step>> {
        let pick = |at: &prop::sample::Index| {
            (!tree.is_empty()).then(|| tree.keys().nth(at.index(tree.len()))).flatten().cloned()
        };
        match self {
            Self::Put(path, node) => Some(vec![Step::Put(path.clone(), node.clone())]),
            Self::Remove(at) => Some(vec![Step::Remove(pick(at)?)]),
            Self::Touch(at) => {
                let path = pick(at)?;
                matches!(tree[&path], Node::File(..)).then(|| vec![Step::Put(path.clone(), tree[&path].clone())])
            }
            Self::Rename(at, to) => {
                let from = pick(at)?;
                if to.is_within(&from) || from.is_within(to) {
                    return None;
                }
                let moved: Vec<_> = tree.range(&from..).take_while(|(path, _)| path.is_within(&from)).collect();
                let mut steps = vec![Step::Remove(from.clone())];
                if tree.contains_key(to) {
                    steps.push(Step::Remove(to.clone()));
                }
                for (path, node) in moved {
                    let rest = &path.as_bytes()[from.as_bytes().len()..];
                    let path = TreePath::from_bytes(&[to.as_bytes(), rest].concat()).ok()?;
                    steps.push(Step::Put(path, node.clone()));
                }
                Some(steps)
            }
        }
    }
}

enum Step {
    Put(TreePath, Node),
    Remove(TreePath),
}

impl Step {
    fn on_data(&self, tree: &mut Tree) {
        match self {
            Self::Put(path, node) => put(tree, path, node.clone()),
            Self::Remove(path) => tree.retain(|other, _| !other.is_within(path)),
        }
    }

    fn on_disk(&self, tree: &Tree, root: &Path) {
        match self {
            Self::Remove(path) => remove(&root.join(path.as_path())),
            Self::Put(path, node) => {
                let mut after = tree.clone();
                put(&mut after, path, node.clone());
                let above: Vec<_> = path.ancestors().collect();
                for path in above.into_iter().rev().chain([path.clone()]) {
                    if tree.get(&path) != after.get(&path) || matches!(node, Node::File(..)) {
                        write(&root.join(path.as_path()), &after[&path]);
                    }
                }
            }
        }
    }
}

/// Writes a tree below a folder.
pub(crate) fn write_tree(root: &Path, tree: &Tree) {
    for (path, node) in tree {
        write(&root.join(path.as_path()), node);
    }
}

fn write(path: &Path, node: &Node) {
    let now = path.symlink_metadata().ok();
    let is_kept = match node {
        Node::Folder(_) => now.as_ref().is_some_and(fs::Metadata::is_dir),
        Node::File(..) => now.as_ref().is_some_and(fs::Metadata::is_file),
        Node::Link(_) => false,
    };
    if now.is_some() && !is_kept {
        remove(path);
    }
    match node {
        Node::Folder(mode) => {
            if !is_kept {
                fs::create_dir(path).unwrap();
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Node::File(mode, content) => {
            if is_kept {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            fs::File::create(path).unwrap().write_all(content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Node::Link(target) => symlink(target.as_path(), path).unwrap(),
    }
}

fn remove(path: &Path) {
    if path.symlink_metadata().unwrap().is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Edits a tree as text says, one edit a line: `+PATH TEXT` writes, `-PATH` removes, `xPATH` makes executable, `mPATH OCTAL` sets permissions, `dPATH` makes a folder, `lPATH TO` a link.
pub(crate) fn edit_tree(tree: &mut Tree, edits: &str) {
    for step in steps(tree, edits) {
        step.on_data(tree);
    }
}

/// Edits a tree on the disk as [`edit_tree`] does.
pub(crate) fn edit(root: &Path, edits: &str) {
    let mut tree = read_tree(root);
    for step in steps(&tree, edits) {
        step.on_disk(&tree, root);
        step.on_data(&mut tree);
    }
}

fn steps(tree: &Tree, edits: &str) -> Vec<Step> {
    let mut tree = tree.clone();
    let step = |line: &str| {
        let (verb, rest) = line.split_at(1);
        let (path, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let path = TreePath::new(path).unwrap();
        let step = match verb {
            "+" => Step::Put(path, Node::File(0o644, text.as_bytes().to_vec())),
            "-" => Step::Remove(path),
            "d" => Step::Put(path, Node::Folder(0o755)),
            "l" => Step::Put(path, Node::Link(LinkTarget::new(text))),
            "x" | "m" => {
                let mode = if verb == "x" { 0o755 } else { u32::from_str_radix(text, 8).unwrap() };
                match &tree[&path] {
                    Node::File(_, content) => Step::Put(path, Node::File(mode, content.clone())),
                    Node::Folder(_) => Step::Put(path, Node::Folder(mode)),
                    other @ Node::Link(_) => panic!("{other:?}"),
                }
            }
            other => panic!("{other}"),
        };
        step.on_data(&mut tree);
        step
    };
    edits.lines().map(str::trim_start).filter(|line| !line.is_empty()).map(step).collect()
}

/// What lies below a folder, without git's own.
pub(crate) fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = TreePath::new(entry.path().strip_prefix(root).unwrap()).unwrap();
            let metadata = entry.metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            let node = if metadata.is_dir() {
                if !path.is_git() {
                    open.push(entry.path());
                }
                Node::Folder(mode)
            } else if metadata.is_symlink() {
                Node::Link(LinkTarget::new(fs::read_link(entry.path()).unwrap()))
            } else {
                Node::File(mode, fs::read(entry.path()).unwrap())
            };
            if !path.is_git() {
                tree.insert(path, node);
            }
        }
    }
    tree
}

/// A tree as text, one line a path.
pub(crate) fn show(tree: &Tree) -> String {
    let line = |(path, node): (&TreePath, &Node)| match node {
        Node::Folder(mode) => format!("{path} {mode:o} folder\n"),
        Node::File(mode, content) => format!("{path} {mode:o} {}\n", String::from_utf8_lossy(content)),
        Node::Link(target) => format!("{path} -> {target}\n"),
    };
    tree.iter().map(line).collect()
}

/// Contents in memory.
#[derive(Default)]
pub(crate) struct Memory(std::sync::Mutex<BTreeMap<ContentDigest, Vec<u8>>>);

impl crate::contents::Contents for Memory {
    fn keep(&self, file: &Path) -> std::io::Result<(ContentDigest, u64)> {
        let content = fs::read(file)?;
        let digest = ContentDigest::of(&content);
        let size = content.len() as u64;
        self.0.lock().unwrap().insert(digest, content);
        Ok((digest, size))
    }

    fn give(&self, digest: ContentDigest, to: &Path) -> std::io::Result<()> {
        let contents = self.0.lock().unwrap();
        let content = contents.get(&digest).ok_or(std::io::ErrorKind::NotFound)?;
        fs::File::create_new(to)?.write_all(content)
    }

    fn read(&self, digest: ContentDigest) -> std::io::Result<Vec<u8>> {
        Ok(self.0.lock().unwrap().get(&digest).ok_or(std::io::ErrorKind::NotFound)?.clone())
    }

    fn has(&self, digest: ContentDigest) -> bool {
        self.0.lock().unwrap().contains_key(&digest)
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<ContentDigest> {
        let digest = ContentDigest::of(bytes);
        self.0.lock().unwrap().insert(digest, bytes.to_vec());
        Ok(digest)
    }
}

/// Runs a test on a disk of so many bytes, where this user may make one.
pub(crate) fn on_small_disk(bytes: u64, test: impl FnOnce(&Path) + Send) {
    use rustix::{mount, thread::UnshareFlags};
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let folder = tempfile::tempdir().unwrap();
            // SAFETY: only this thread gets a mount namespace of its own, in which it ends.
            #[expect(unsafe_code, reason = "the kernel's own interface")]
            if unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.is_err() {
                return;
            }
            let flags = mount::MountPropagationFlags::PRIVATE | mount::MountPropagationFlags::REC;
            mount::mount_change(c"/", flags).unwrap();
            let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
            mount::mount(c"tmpfs", folder.path(), c"tmpfs", mount::MountFlags::empty(), size.as_c_str()).unwrap();
            test(folder.path());
            mount::unmount(folder.path(), mount::UnmountFlags::DETACH).unwrap();
        });
    });
}

/// A name that is no text.
pub(crate) fn strange_name() -> OsString {
    OsString::from_vec(b"caf\xe9 %41\n".to_vec())
}
