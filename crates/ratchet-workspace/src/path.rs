//! Paths in a tree: relative, of any bytes.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fmt::{self, Write as _},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// The longest path that is taken, in bytes: the kernel's own limit.
pub const PATH_BYTES_MAX: usize = 4095;

/// A path relative to the root of a tree, without `.`, `..` and empty parts. A folder sorts directly before all that is in it.
///
/// In text, a byte that is not UTF-8 and `%` itself are `%` and two hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Box<[u8]>);

/// Why some bytes are no path of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no path inside a workspace")]
pub struct PathError(pub String);

impl TreePath {
    /// Takes a path that stays inside of every root that it is joined to, or says that it does not. `.` parts are dropped.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, PathError> {
        let path = path.as_ref();
        let bytes = path.as_os_str().as_bytes();
        if let Ok(already) = Self::from_bytes(bytes) {
            return Ok(already);
        }
        // Only what is harmless is put right: `./a//b/` is `a/b`.
        let parts: Vec<&[u8]> =
            bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        match bytes.first() {
            Some(b'/') => Err(PathError(path.display().to_string())),
            _ => Self::from_bytes(&parts.join(&b'/')),
        }
    }

    /// Takes bytes that are a path as this type writes it, and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        let is_part = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
        let is_path = bytes.len() <= PATH_BYTES_MAX && bytes.split(|byte| *byte == b'/').all(is_part);
        if is_path { Ok(Self(bytes.into())) } else { Err(PathError(String::from_utf8_lossy(bytes).into_owned())) }
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its last part.
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
    }

    /// The folder that it lies in; `None` in the root.
    pub fn parent(&self) -> Option<Self> {
        let end = self.0.iter().rposition(|byte| *byte == b'/')?;
        Some(Self(self.0[..end].into()))
    }

    /// The folders above it, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Whether it is the other path or lies below it.
    pub fn is_within(&self, folder: &Self) -> bool {
        self.0.strip_prefix(&*folder.0).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }

    /// Whether one of some paths is it, or lies in it.
    pub fn holds_any(&self, paths: &BTreeSet<Self>) -> bool {
        paths.range(self..).next().is_some_and(|path| path.is_within(self))
    }

    /// Whether it is git's own folder at the root, or lies in it.
    pub fn is_git(&self) -> bool {
        self.0.strip_prefix(b".git").is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }

    /// The path of something in a folder; `None` stands for the root.
    pub(crate) fn inside(folder: Option<&Self>, name: &[u8]) -> Result<Self, PathError> {
        match folder {
            None => Self::from_bytes(name),
            Some(folder) => Self::from_bytes(&[&folder.0, &b"/"[..], name].concat()),
        }
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A separator sorts before every byte of a name, so that nothing stands between a folder and what is in it.
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        match self.0.iter().zip(&other.0).find(|(left, right)| left != right) {
            Some((left, right)) => rank(*left).cmp(&rank(*right)),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(&self.0, f)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
        read_bytes(&text)
            .and_then(|bytes| Self::from_bytes(&bytes).ok())
            .ok_or_else(|| de::Error::custom(format!("{text} is no path inside a workspace")))
    }
}

/// Where a symbolic link points: any bytes. In text it is written as a [`TreePath`] is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkTarget(Box<[u8]>);

impl LinkTarget {
    /// Takes where a link points.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self(path.into().into_vec().into())
    }

    /// Where it points.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(&self.0, f)
    }
}

impl fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for LinkTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = read_bytes(&text).ok_or_else(|| de::Error::custom(format!("{text} is no target of a link")))?;
        Ok(Self(bytes.into()))
    }
}

fn read_bytes(text: &str) -> Option<Vec<u8>> {
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
    Some(bytes)
}

fn write_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '%' { f.write_str("%25")? } else { f.write_char(character)? }
        }
        for byte in chunk.invalid() {
            write!(f, "%{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_stays_inside_is_a_path() {
        for (text, path) in [
            ("a", Some("a")),
            ("./a//b/", Some("a/b")),
            ("a/./b", Some("a/b")),
            ("..a/b..", Some("..a/b..")),
            ("", None),
            (".", None),
            ("/", None),
            ("/a", None),
            ("..", None),
            ("a/../b", None),
            ("a/..", None),
            ("a\0b", None),
        ] {
            assert_eq!(TreePath::new(text).ok().map(|path| path.to_string()).as_deref(), path, "{text:?}");
        }
        assert!(TreePath::from_bytes(&vec![b'a'; PATH_BYTES_MAX]).is_ok());
        assert!(TreePath::from_bytes(&vec![b'a'; PATH_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_folder_stands_directly_before_what_is_in_it() {
        let sorted = ["a", "a/b", "a/b/c", "a/b!", "a!", "a.b", "b"];
        let mut paths: Vec<_> = sorted.iter().rev().map(|text| TreePath::new(text).unwrap()).collect();
        paths.sort();
        assert_eq!(paths.iter().map(ToString::to_string).collect::<Vec<_>>(), sorted);
        assert!(paths[2].is_within(&paths[0]) && paths[0].is_within(&paths[0]));
        assert!(!paths[4].is_within(&paths[0]) && !paths[0].is_within(&paths[1]));
        assert_eq!(paths[2].ancestors().map(|path| path.to_string()).collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(paths[2].name(), "c");
    }

    proptest! {
        #![proptest_config(crate::testing::cases(256))]

        #[test]
        fn any_name_survives_as_text(bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
            if let Ok(path) = TreePath::from_bytes(&bytes) {
                let text = serde_json::to_string(&path).unwrap();
                prop_assert_eq!(serde_json::from_str::<TreePath>(&text).unwrap(), path);
            }
        }
    }
}
