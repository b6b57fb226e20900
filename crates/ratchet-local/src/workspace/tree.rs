//! The files of a directory as they lie there: names of any bytes, modes, symbolic links, empty folders.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt::{self, Write as _},
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use ratchet_core::ids::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// A path relative to the root of a tree. In text, a byte that is not UTF-8 and `%` itself are `%` and two hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(PathBuf);

impl TreePath {
    /// A path that is relative already.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The folder that it lies in; `None` in the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.parent().filter(|parent| !parent.as_os_str().is_empty()).map(Self::new)
    }

    /// The folders above it, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            } else {
                bytes.push(byte);
            }
        }
        Some(Self(PathBuf::from(OsString::from_vec(bytes))))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            for character in chunk.valid().chars() {
                if character == '%' { f.write_str("%25")? } else { f.write_char(character)? }
            }
            for byte in chunk.invalid() {
                write!(f, "%{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for TreePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("{text} is not a path")))
    }
}

/// What tells cheaply whether a file was touched: no program can set all of it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// The file's number in its file system.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content changed, in nanoseconds since 1970.
    pub modified: i128,
    /// When anything of it changed, in nanoseconds since 1970.
    pub changed: i128,
}

impl Stamp {
    /// The stamp of a file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether it is the same file with the same content, though it may have been renamed since.
    pub(super) fn is_same_content(&self, other: &Self) -> bool {
        (self.inode, self.size, self.modified) == (other.inode, other.size, other.modified)
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link to this.
    Link(TreePath),
}

/// One file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its permissions; of a link, nothing.
    pub mode: u32,
    /// Its stamp.
    pub stamp: Stamp,
}

/// Whether it says that nothing lies at a path: also where what should be a folder above it is a file, or a link that leads to itself.
pub(super) fn is_absent(error: &io::Error) -> bool {
    let is_loop = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    is_loop || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Item {
    /// What lies at a path; `None` where nothing does, or something that is none of these (a socket, a device).
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Self::from_metadata(path, &metadata),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn from_metadata(path: &Path, metadata: &Metadata) -> io::Result<Option<Self>> {
        let stamp = Stamp::of(metadata);
        let mode = metadata.mode() & 0o7777;
        let kind = metadata.file_type();
        Ok(if kind.is_dir() {
            Some(Self { kind: Kind::Folder, mode, stamp })
        } else if kind.is_file() {
            Some(Self { kind: Kind::File, mode, stamp })
        } else if kind.is_symlink() {
            Some(Self { kind: Kind::Link(TreePath::new(fs::read_link(path)?)), mode: 0, stamp })
        } else {
            None
        })
    }

    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }
}

/// Everything below a root, by path, parents first. `skip` leaves out a path and what is below it.
pub(super) fn walk(
    root: &Path,
    skip: &dyn Fn(&Path) -> bool,
) -> Result<BTreeMap<TreePath, Item>, (PathBuf, io::Error)> {
    let mut items = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let absolute = root.join(&folder);
        let entries = fs::read_dir(&absolute).map_err(|error| (absolute.clone(), error))?;
        for entry in entries {
            let entry = entry.map_err(|error| (absolute.clone(), error))?;
            let path = entry.path();
            if skip(&path) {
                continue;
            }
            let relative = folder.join(entry.file_name());
            if let Some(item) = Item::read(&path).map_err(|error| (path, error))? {
                if item.is_folder() {
                    open.push(relative.clone());
                }
                items.insert(TreePath::new(relative), item);
            }
        }
    }
    Ok(items)
}

/// The SHA-256 of what can be read.
pub(super) fn digest_of(mut content: impl Read) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            return Ok(Digest::new(ratchet_core::history::hex(&hasher.finalize())));
        }
        hasher.update(&buffer[..count]);
    }
}

/// The SHA-256 of a file.
pub(super) fn digest_of_file(path: &Path) -> io::Result<Digest> {
    digest_of(File::open(path)?)
}

/// Whether two files hold the same bytes.
pub(super) fn is_same_content(left: &Path, right: &Path) -> io::Result<bool> {
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    Ok(digest_of_file(left)? == digest_of_file(right)?)
}

/// Removes a folder and all in it, also where folders in it are read only.
pub fn remove_tree(root: &Path) -> io::Result<()> {
    match fs::remove_dir_all(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        other => return other,
    }
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(root)
}

/// The last part of a path, or nothing.
pub(crate) fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_survives_as_text() {
        for name in [&b"plain/file"[..], b"100%", b"\xff\xfe/x", "grüße".as_bytes(), b"%41", b"new\nline"] {
            let path = TreePath::new(OsStr::from_bytes(name));
            let text = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<TreePath>(&text).unwrap(), path, "{text}");
        }
        assert_eq!(TreePath::new(OsStr::from_bytes(b"a\xff%")).to_string(), "a%ff%25");
        assert!(serde_json::from_str::<TreePath>("\"50%\"").is_err());
    }
}
