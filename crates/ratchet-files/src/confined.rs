//! The files of a run, as expressions read them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
    sync::{Arc, OnceLock},
};

use globset::{GlobBuilder, GlobMatcher};
use ratchet_core::{ids::Digest, output::FileValue};
use ratchet_definition::files::{FileAccess, FileError};
use ratchet_engine::ports::AttemptFiles;
use ratchet_workspace::{ContentDigest, Kind, StatCache, paths, resolve, scan};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::{captured::CapturedFiles, folder_digest::FolderDigest};

/// The files below a root. Nothing outside is reached, also not through a symbolic link.
#[derive(Debug, Clone)]
pub struct ConfinedFiles {
    files: AttemptFiles,
    /// Where they really are at home: found out when a file is asked for, which most steps never do.
    home: OnceLock<PathBuf>,
    captured: Arc<dyn CapturedFiles>,
}

impl ConfinedFiles {
    /// The files below an absolute root, and captured ones.
    pub fn new(root: &Path, captured: impl CapturedFiles + 'static) -> Self {
        Self::of(&AttemptFiles::in_folder(root), captured)
    }

    /// The files of an attempt, and captured ones.
    pub fn of(files: &AttemptFiles, captured: impl CapturedFiles + 'static) -> Self {
        Self { files: files.clone(), home: OnceLock::new(), captured: Arc::new(captured) }
    }

    /// Where they are at home, without links.
    fn home(&self) -> &Path {
        self.home.get_or_init(|| match self.files.path() {
            path if path == self.files.root() => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            path => path.to_owned(),
        })
    }

    /// Where they are found here.
    fn root(&self) -> &Path {
        if self.files.path() == self.files.root() { self.home() } else { self.files.root() }
    }

    /// A path relative to the root, without `.` and `..`.
    pub fn relative(&self, path: &str) -> Result<PathBuf, FileError> {
        inside(self.home(), path)
    }

    fn open(&self, path: &str) -> Result<File, FileError> {
        let relative = self.relative(path)?;
        self.open_below(&relative).map_err(|error| self.explain(path, &relative, &error))
    }

    /// Opens without ever leaving the root: the kernel sees to it at each step of the way, whatever happens to links meanwhile.
    fn open_below(&self, relative: &Path) -> io::Result<File> {
        let root = File::open(self.root())?;
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let open = |path: &Path| -> io::Result<OwnedFd> {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            Ok(openat2(&root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)?)
        };
        match open(relative) {
            Ok(file) => Ok(file.into()),
            // An absolute link may lead to a file below the root all the same.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) => {
                match resolve(self.home(), self.root(), relative, false)? {
                    Some(inside) => open(&inside).map(File::from),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn explain(&self, path: &str, relative: &Path, error: &io::Error) -> FileError {
        if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) {
            return FileError::Outside(path.to_owned());
        }
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                let leads_out =
                    self.root().join(relative).symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
                        && fs::read_link(self.root().join(relative))
                            .is_ok_and(|to| to.is_absolute() && !to.starts_with(self.home()));
                if leads_out { FileError::Outside(path.to_owned()) } else { FileError::NotFound(path.to_owned()) }
            }
            _ => FileError::Unreadable { path: path.to_owned(), reason: error.to_string() },
        }
    }

    fn read_whole(path: &str, mut file: &File) -> Result<Vec<u8>, FileError> {
        let unreadable = |reason: String| FileError::Unreadable { path: path.to_owned(), reason };
        let metadata = file.metadata().map_err(|error| unreadable(error.to_string()))?;
        if !metadata.is_file() {
            return Err(unreadable("it is no file".to_owned()));
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(|error| unreadable(error.to_string()))?;
        Ok(content)
    }

    fn digest_of_folder(&self, path: &str, inside: &Path) -> Result<Digest, FileError> {
        let scanned = scan(&self.root().join(inside), &|_| false, &StatCache::default());
        let scanned =
            scanned.map_err(|error| FileError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        Ok(FolderDigest::of(scanned.manifest.iter().map(|(path, entry)| (path.clone(), entry))))
    }
}

/// A path relative to a root, without `.` and `..`, as its text says.
pub(crate) fn inside(root: &Path, path: &str) -> Result<PathBuf, FileError> {
    let outside = || FileError::Outside(path.to_owned());
    let given = Path::new(path);
    let given = if given.is_absolute() { given.strip_prefix(root).map_err(|_| outside())? } else { given };
    let mut normal = PathBuf::new();
    for component in given.components() {
        match component {
            Component::Normal(part) => normal.push(part),
            Component::CurDir => {}
            Component::ParentDir if normal.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    Ok(normal)
}

impl FileAccess for ConfinedFiles {
    fn read_captured(&self, file: &FileValue) -> Result<Vec<u8>, FileError> {
        self.captured.read(file)
    }

    fn path_of_captured(&self, file: &FileValue) -> Result<String, FileError> {
        let now = match self.open(&file.path) {
            Ok(now)
                if now.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.size() == file.content.size) =>
            {
                digest_of(now).ok()
            }
            _ => None,
        };
        if now.as_ref() == Some(&file.content.digest) {
            return Ok(file.path.clone());
        }
        self.captured.path(file)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let file = self.open(path)?;
        Self::read_whole(path, &file)
    }

    fn digest(&self, path: &str) -> Result<Option<Digest>, FileError> {
        let file = match self.open(path) {
            Ok(file) => file,
            Err(FileError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let unreadable = |error: io::Error| FileError::Unreadable { path: path.to_owned(), reason: error.to_string() };
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            // Resolved once more, so that a link to a folder is followed to where it leads.
            let inside = resolve(self.home(), self.root(), &self.relative(path)?, false).map_err(unreadable)?;
            let inside = inside.ok_or_else(|| FileError::Outside(path.to_owned()))?;
            return self.digest_of_folder(path, &inside).map(Some);
        }
        if !metadata.is_file() {
            return Ok(None);
        }
        digest_of(file).map(Some).map_err(unreadable)
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, FileError> {
        let (matcher, asks_for_git) = matcher(pattern)?;
        let found = paths(self.root(), &|path| !asks_for_git && path.is_git());
        let found =
            found.map_err(|error| FileError::Unreadable { path: pattern.to_owned(), reason: error.to_string() })?;
        let mut found: Vec<String> = found
            .into_iter()
            .filter(|(path, _)| matcher.is_match(path.as_path()))
            .filter(|(path, kind)| match kind {
                Kind::File => true,
                Kind::Folder => false,
                // A link counts where it leads to a file of the workspace.
                Kind::Link => self
                    .open_below(path.as_path())
                    .is_ok_and(|file| file.metadata().is_ok_and(|metadata| metadata.is_file())),
            })
            .filter_map(|(path, _)| path.as_path().to_str().map(str::to_owned))
            .collect();
        found.sort();
        Ok(found)
    }
}

/// What a glob matches, and whether it asks for git's own files.
pub(crate) fn matcher(pattern: &str) -> Result<(GlobMatcher, bool), FileError> {
    let pattern_path = Path::new(pattern);
    if pattern_path.is_absolute() || pattern_path.components().any(|part| part == Component::ParentDir) {
        return Err(FileError::Outside(pattern.to_owned()));
    }
    let glob = GlobBuilder::new(pattern.trim_start_matches("./")).literal_separator(true).build();
    let glob = glob.map_err(|error| FileError::Unreadable { path: pattern.to_owned(), reason: error.to_string() })?;
    Ok((glob.compile_matcher(), pattern.trim_start_matches("./").starts_with(".git/")))
}

/// The digest of a file's content, where it can be read.
pub fn content_digest(file: &Path) -> Option<Digest> {
    digest_of(File::open(file).ok()?).ok()
}

/// The digest of all that can be read.
fn digest_of(file: File) -> io::Result<Digest> {
    ContentDigest::of_reader(file).map(|(digest, _)| digest.to_core())
}

impl ConfinedFiles {
    /// Writes a file whole or not at all, and makes the folders above it. Nothing is written through a link.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<PathBuf, FileError> {
        let relative = self.relative(path)?;
        let outside = || FileError::Outside(path.to_owned());
        let unwritable = |error: io::Error| FileError::Unreadable { path: path.to_owned(), reason: error.to_string() };
        let (Some(folder), Some(_)) = (relative.parent(), relative.file_name()) else { return Err(outside()) };
        let mut below = self.root().to_owned();
        for part in folder {
            below.push(part);
            match fs::create_dir(&below) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unwritable(error)),
                _ => {}
            }
            // A link that stays inside is followed; the way on is the real one.
            below = below.canonicalize().map_err(unwritable)?;
            if !below.starts_with(self.root()) {
                return Err(outside());
            }
        }
        let target = below.join(relative.file_name().unwrap_or_default());
        let mode = match target.metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(unwritable(io::ErrorKind::IsADirectory.into())),
            Ok(metadata) => metadata.permissions().mode() & 0o7777,
            Err(_) => new_file_mode(&below),
        };
        let file = tempfile::Builder::new().prefix(".ratchet-").tempfile_in(&below).map_err(unwritable)?;
        io::Write::write_all(&mut file.as_file(), content).map_err(unwritable)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(unwritable)?;
        file.persist(&target).map_err(|error| unwritable(error.error))?;
        Ok(relative)
    }
}

/// The permissions that the user's mask gives a new file. The mask itself can only be read by setting it, so a file is asked.
fn new_file_mode(folder: &Path) -> u32 {
    let probe = folder.join(format!(".ratchet-{}", uuid::Uuid::new_v4()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(&probe);
    let mode = file.and_then(|file| file.metadata()).map_or(0o644, |metadata| metadata.mode() & 0o777);
    let _ = fs::remove_file(probe);
    mode
}
