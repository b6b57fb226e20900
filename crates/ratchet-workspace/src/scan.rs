//! A tree on the disk, read in parallel: every path is looked at, and only what may have changed is read.

use std::{
    ffi::CStr,
    fs::File,
    io,
    num::NonZero,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat},
    io::Errno,
};

use crate::{
    digest::ContentDigest,
    error::WorkspaceError,
    manifest::{ENTRIES_MAX, Entry, MODE_BITS, Manifest},
    path::{LinkTarget, TreePath},
    stamp::{Stamp, StatCache},
};

/// How often a file that changes while it is read is read again.
const READINGS: usize = 5;

/// The most threads that look at a tree.
const THREADS_MAX: usize = 8;

/// Says of a path whether it, with all that is in it, is no part of the tree.
pub type Skip<'a> = &'a (dyn Fn(&TreePath) -> bool + Sync);

/// Looks at what was found, and may refuse it.
pub(crate) type Glance<'a> = &'a dyn Fn(&[(TreePath, Item)]) -> Result<(), WorkspaceError>;

/// What a tree is, and what makes it cheap to look again.
#[derive(Debug)]
pub struct Scan {
    /// What it is.
    pub manifest: Manifest,
    /// The digests that hold while the stamps do.
    pub cache: StatCache,
    /// How many files were read.
    pub files_read: usize,
}

/// Looks at everything below a root. Sockets, pipes and devices are left out.
pub fn scan(root: &Path, skip: Skip<'_>, known: &StatCache) -> Result<Scan, WorkspaceError> {
    scan_after(root, skip, known, &|_| Ok(()))
}

/// The same, once `glance` has seen what there is: before a file is read.
pub(crate) fn scan_after(
    root: &Path,
    skip: Skip<'_>,
    known: &StatCache,
    glance: Glance<'_>,
) -> Result<Scan, WorkspaceError> {
    let begun = SystemTime::now();
    let mut found = list(root, skip)?;
    look_up(&mut found, known);
    glance(&found)?;
    let files_read = read_files(root, &mut found)?;
    let mut cache = Vec::with_capacity(found.len());
    let mut entries = Vec::with_capacity(found.len());
    for (path, item) in found {
        match item {
            Item::Folder { mode } => entries.push((path, Entry::Folder { mode })),
            Item::Link(target) => entries.push((path, Entry::Link { target })),
            Item::File { mode, stamp, digest: Some(digest) } => {
                if !stamp.is_doubtful_at(begun) {
                    cache.push((path.clone(), stamp, digest));
                }
                entries.push((path, Entry::File { mode, size: stamp.size, digest }));
            }
            Item::File { digest: None, .. } | Item::Whiteout | Item::Other => {}
        }
    }
    Ok(Scan { manifest: entries.into_iter().collect(), cache: StatCache::new(cache), files_read })
}

/// What a path is, as far as one look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
}

/// The paths below a root in order. Nothing is read.
pub fn paths(root: &Path, skip: Skip<'_>) -> Result<Vec<(TreePath, Kind)>, WorkspaceError> {
    let kind = |item: &Item| match item {
        Item::Folder { .. } => Some(Kind::Folder),
        Item::File { .. } => Some(Kind::File),
        Item::Link(_) => Some(Kind::Link),
        Item::Whiteout | Item::Other => None,
    };
    Ok(list(root, skip)?.into_iter().filter_map(|(path, item)| Some((path, kind(&item)?))).collect())
}

/// Gives files the digests that are known of them.
pub(crate) fn look_up(found: &mut [(TreePath, Item)], known: &StatCache) {
    let mut lookup = known.lookup();
    for (path, item) in found {
        if let Item::File { stamp, digest, .. } = item {
            *digest = lookup(path, stamp);
        }
    }
}

/// Reads the files that have no digest yet, and says how many those were.
pub(crate) fn read_files(root: &Path, found: &mut [(TreePath, Item)]) -> Result<usize, WorkspaceError> {
    let is_unread = |item: &Item| matches!(item, Item::File { digest: None, .. });
    let unread: Vec<_> = found.iter().enumerate().filter(|(_, (_, item))| is_unread(item)).map(|(at, _)| at).collect();
    let read = in_parallel_each(&unread, |number| read_one(&root.join(found[*number].0.as_path())))?;
    for (number, item) in unread.iter().zip(read) {
        found[*number].1 = item;
    }
    Ok(unread.len())
}

/// What lies at a path, before its content is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Folder {
        mode: u32,
    },
    File {
        mode: u32,
        stamp: Stamp,
        digest: Option<ContentDigest>,
    },
    Link(LinkTarget),
    /// What the kernel puts in place of something that is gone in a view.
    Whiteout,
    /// What is none of these, or is gone.
    Other,
}

impl Item {
    /// What lies at a name in a folder.
    fn at(folder: impl AsFd, name: &CStr) -> io::Result<Self> {
        let stat = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Self::Other),
            other => other?,
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Self::Folder { mode: stat.st_mode & MODE_BITS },
            FileType::RegularFile => Self::of_file(&stat),
            FileType::Symlink => match readlinkat(&folder, name, Vec::new()) {
                Err(Errno::NOENT | Errno::INVAL) => Self::Other,
                target => {
                    use std::os::unix::ffi::OsStringExt;
                    Self::Link(LinkTarget::new(std::ffi::OsString::from_vec(target?.into_bytes())))
                }
            },
            FileType::CharacterDevice if stat.st_rdev == 0 => Self::Whiteout,
            _ => Self::Other,
        })
    }

    fn of_file(stat: &Stat) -> Self {
        Self::File { mode: stat.st_mode & MODE_BITS, stamp: Stamp::of(stat), digest: None }
    }
}

/// Everything below a root in the order of paths.
pub(crate) fn list(root: &Path, skip: Skip<'_>) -> Result<Vec<(TreePath, Item)>, WorkspaceError> {
    let listing = Listing {
        root,
        skip,
        open: Mutex::new(Open { folders: vec![None], busy: 0, is_over: false }),
        more: Condvar::new(),
    };
    let lists = in_parallel(usize::MAX, || listing.work())?;
    let mut found: Vec<_> = lists.into_iter().flatten().collect();
    if found.len() > ENTRIES_MAX {
        let error = io::Error::other(format!("it holds more than {ENTRIES_MAX} files"));
        return Err(WorkspaceError::reading(root, error));
    }
    found.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    Ok(found)
}

struct Listing<'a> {
    root: &'a Path,
    skip: Skip<'a>,
    open: Mutex<Open>,
    more: Condvar,
}

struct Open {
    folders: Vec<Option<TreePath>>,
    /// How many threads are in a folder, and may open more.
    busy: usize,
    is_over: bool,
}

impl Listing<'_> {
    fn work(&self) -> Result<Vec<(TreePath, Item)>, WorkspaceError> {
        let mut found = Vec::new();
        while let Some(folder) = self.next() {
            let begun = found.len();
            let outcome = self.enter(folder.as_ref(), &mut found);
            let inner = found[begun..].iter().filter(|(_, item)| matches!(item, Item::Folder { .. }));
            let inner: Vec<_> = inner.map(|(path, _)| Some(path.clone())).collect();
            let mut open = self.lock();
            open.folders.extend(inner);
            open.busy -= 1;
            open.is_over |= outcome.is_err();
            drop(open);
            self.more.notify_all();
            outcome?;
        }
        Ok(found)
    }

    /// The next folder to look at, which is nothing for the root; or that there is none left.
    #[expect(clippy::option_option, reason = "the root has no path")]
    fn next(&self) -> Option<Option<TreePath>> {
        let mut open = self.lock();
        loop {
            if open.is_over || (open.folders.is_empty() && open.busy == 0) {
                return None;
            }
            if let Some(folder) = open.folders.pop() {
                open.busy += 1;
                return Some(folder);
            }
            open = self.more.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, folder: Option<&TreePath>, found: &mut Vec<(TreePath, Item)>) -> Result<(), WorkspaceError> {
        let absolute = folder.map_or_else(|| self.root.to_owned(), |folder| self.root.join(folder.as_path()));
        let failed = |error: io::Error| WorkspaceError::reading(&absolute, error);
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if folder.is_some() {
            flags |= OFlags::NOFOLLOW;
        }
        let opened = match openat(CWD, &absolute, flags, Mode::empty()) {
            // It was removed, or became something else, after it was seen.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if folder.is_some() => return Ok(()),
            other => other.map_err(|error| failed(error.into()))?,
        };
        for entry in Dir::read_from(&opened).map_err(|error| failed(error.into()))? {
            let entry = entry.map_err(|error| failed(error.into()))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = TreePath::inside(folder, name.to_bytes())
                .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidFilename, error)))?;
            if (self.skip)(&path) {
                continue;
            }
            let item = Item::at(&opened, name)
                .map_err(|error| WorkspaceError::reading(&self.root.join(path.as_path()), error))?;
            found.push((path, item));
        }
        Ok(())
    }
}

/// Reads a file until it stays the same from the first byte to the last.
pub(crate) fn read_one(path: &Path) -> Result<Item, WorkspaceError> {
    read_with(path, &mut |file| ContentDigest::of_reader(file))
}

/// What reads a file and says what it read.
type Reading<'a> = &'a mut dyn FnMut(&File) -> io::Result<(ContentDigest, u64)>;

fn read_with(path: &Path, reading: Reading<'_>) -> Result<Item, WorkspaceError> {
    let failed = |error: io::Error| WorkspaceError::reading(path, error);
    for _ in 0..READINGS {
        let Some((file, before)) = open_file(path).map_err(failed)? else { return Ok(Item::Other) };
        let (digest, size) = reading(&file).map_err(failed)?;
        let after = fstat(&file).map_err(|error| failed(error.into()))?;
        let stamp = Stamp::of(&after);
        if stamp == Stamp::of(&before) && stamp.size == size {
            return Ok(Item::File { mode: after.st_mode & MODE_BITS, stamp, digest: Some(digest) });
        }
    }
    Err(WorkspaceError::Changing { path: path.to_owned() })
}

/// Opens a file that is one: no link is followed, and no pipe is waited for.
pub(crate) fn open_file(path: &Path) -> io::Result<Option<(File, Stat)>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
        other => File::from(other?),
    };
    let stat = fstat(&file)?;
    Ok((FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some((file, stat)))
}

/// Does a work for each of some parts, on as many threads as help.
pub fn in_parallel_each<P: Sync, T: Send, E: Send>(
    parts: &[P],
    work: impl Fn(&P) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let lists = in_parallel(parts.len(), || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(at) else { return Ok(done) };
            match work(part) {
                Ok(outcome) => done.push((at, outcome)),
                Err(error) => {
                    next.store(parts.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    })?;
    let mut done: Vec<_> = lists.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Does one work on as many threads as help, and stops at the first error.
fn in_parallel<T: Send, E: Send>(parts: usize, work: impl Fn() -> Result<T, E> + Sync) -> Result<Vec<T>, E> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX).min(parts);
    if threads <= 1 {
        return Ok(vec![work()?]);
    }
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        let mut outcomes = vec![work()];
        for other in others {
            outcomes.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        outcomes.into_iter().collect()
    })
}

/// The paths of a workspace that are no part of it, as its author wrote them.
#[derive(Debug, Clone)]
pub struct Exclude(globset::GlobSet);

impl Exclude {
    /// Takes globs over whole paths. `*` does not cross folders.
    pub fn new(globs: &[String]) -> Result<Self, globset::Error> {
        let mut set = globset::GlobSetBuilder::new();
        for glob in globs {
            let glob = glob.strip_prefix("./").unwrap_or(glob).trim_end_matches('/');
            set.add(globset::GlobBuilder::new(glob).literal_separator(true).build()?);
        }
        Ok(Self(set.build()?))
    }

    /// Whether the path itself is named. What lies in it is never asked for.
    pub fn contains(&self, path: &TreePath) -> bool {
        self.0.is_match(std::ffi::OsStr::from_bytes(path.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, edit};

    fn everything(root: &Path, known: &StatCache) -> Scan {
        scan(root, &|_| false, known).unwrap()
    }

    /// As if the files had lain there for long.
    fn settled(root: &Path) {
        let past = SystemTime::now() - std::time::Duration::from_hours(1);
        for (path, item) in list(root, &|_| false).unwrap() {
            if matches!(item, Item::File { .. }) {
                let file = root.join(path.as_path());
                File::open(&file).unwrap().set_modified(past).unwrap();
            }
        }
    }

    proptest! {
        #![proptest_config(testing::cases(64))]
        #[test]
        fn a_tree_on_the_disk_is_what_was_written(tree in testing::trees(), edits in testing::edits()) {
            let folder = tempfile::tempdir().unwrap();
            testing::write_tree(folder.path(), &tree);
            let before = everything(folder.path(), &StatCache::default());
            prop_assert_eq!(&before.manifest, &testing::manifest(&tree));
            // With what is known from before, and without, an edited tree is the same.
            let mut tree = tree;
            for edit in &edits {
                edit.make_on_disk(&mut tree, folder.path());
            }
            let warm = everything(folder.path(), &before.cache);
            prop_assert_eq!(&warm.manifest, &testing::manifest(&tree));
            prop_assert_eq!(testing::read_tree(folder.path()), tree);
        }
    }

    #[test]
    fn only_what_may_have_changed_is_read() {
        let folder = tempfile::tempdir().unwrap();
        edit(folder.path(), "+a one\n+d/b two\n+d/c three\nle a");
        fs::write(folder.path().join(testing::strange_name()), "x").unwrap();
        settled(folder.path());
        let first = everything(folder.path(), &StatCache::default());
        assert_eq!(first.files_read, 4);
        // The kernel's own time of change is never in the past: it is only known once it has aged.
        assert!(first.cache.is_empty(), "a file that was touched just now may change again unseen");
        let aged = aged_cache(folder.path(), &first);
        let second = everything(folder.path(), &aged);
        assert_eq!((second.files_read, &second.manifest), (0, &first.manifest));
        edit(folder.path(), "+d/b TWO");
        assert_eq!(everything(folder.path(), &aged).files_read, 1);
    }

    /// What the cache will be once the stamps have aged.
    fn aged_cache(root: &Path, scan: &Scan) -> StatCache {
        let known = list(root, &|_| false).unwrap().into_iter().filter_map(|(path, item)| match item {
            Item::File { stamp, .. } => {
                let (digest, _) = scan.manifest.get(&path)?.content()?;
                Some((path, stamp, digest))
            }
            _ => None,
        });
        StatCache::new(known.collect())
    }

    #[test]
    fn a_file_that_never_rests_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "x").unwrap();
        let read = |changes: usize| {
            let mut left = changes;
            read_with(&path, &mut |file| {
                if left > 0 {
                    left -= 1;
                    File::options().append(true).open(&path)?.write_all(b"x")?;
                }
                ContentDigest::of_reader(file)
            })
        };
        assert!(matches!(read(READINGS - 1), Ok(Item::File { .. })));
        let error = read(READINGS).unwrap_err();
        assert_eq!((error.code(), error.to_string().contains("log")), ("RT-0272", true));
    }

    #[test]
    fn what_is_no_file_is_left_out_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        edit(folder.path(), "+a one\nlup ..\nlout /etc\nlself self");
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        rustix::fs::mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let manifest = everything(folder.path(), &StatCache::default()).manifest;
        let paths: Vec<_> = manifest.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(paths, ["a", "out", "self", "up"]);
        assert_eq!(read_one(&folder.path().join("pipe")).unwrap(), Item::Other);
        let missing = scan(&folder.path().join("none"), &|_| false, &StatCache::default()).unwrap_err();
        assert_eq!(missing.code(), "RT-0270");
    }

    #[test]
    fn excluded_paths_are_no_part_of_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        edit(folder.path(), "+a.log x\n+d/b.log x\n+d/c x\n+big/data/x y\n+node_modules/m/i.js x");
        let exclude = Exclude::new(&["*.log".into(), "./big/".into(), "**/m".into()]).unwrap();
        let found = list(folder.path(), &|path| exclude.contains(path)).unwrap();
        let paths: Vec<_> = found.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(paths, ["d", "d/b.log", "d/c", "node_modules"]);
        assert!(Exclude::new(&["[".into()]).is_err());
    }
}
