//! What git's index says, less what it remembers of the files' stamps: `git status` alone rewrites those.

use std::collections::BTreeMap;

/// The paths of an index, each stage of it, with mode and object.
pub type IndexEntries = BTreeMap<(Vec<u8>, u16), (u32, Vec<u8>)>;

const SHA1_BYTES: usize = 20;
/// Times, device, inode, mode, owner and size stand before the object.
const BYTES_BEFORE_OBJECT: usize = 40;
const EXTENDED: u16 = 0x4000;
const STAGE_AND_VALID: u16 = 0xb000;

/// Reads an index of version 2, 3 or 4 with SHA-1 objects; `None` for anything else.
pub fn parse(bytes: &[u8]) -> Option<IndexEntries> {
    let mut reader = Reader { bytes: bytes.get(..bytes.len().checked_sub(SHA1_BYTES)?)?, at: 0 };
    if reader.take(4)? != b"DIRC" {
        return None;
    }
    let version = reader.u32()?;
    if !(2..=4).contains(&version) {
        return None;
    }
    let count = reader.u32()?;
    let mut entries = IndexEntries::new();
    let mut path = Vec::new();
    for _ in 0..count {
        let begin = reader.at;
        let fixed = reader.take(BYTES_BEFORE_OBJECT)?;
        let mode = u32::from_be_bytes(fixed[24..28].try_into().ok()?);
        let object = reader.take(SHA1_BYTES)?.to_vec();
        let flags = reader.u16()?;
        let extended = if flags & EXTENDED == 0 { 0 } else { reader.u16()? };
        if version == 4 {
            let dropped = reader.offset()?;
            path.truncate(path.len().checked_sub(dropped)?);
            path.extend_from_slice(reader.until_nul()?);
        } else {
            path = reader.until_nul()?.to_vec();
            // At least one NUL, up to a multiple of eight bytes.
            let length = reader.at - begin;
            reader.take(length.next_multiple_of(8) - length)?;
        }
        entries.insert((path.clone(), (flags & STAGE_AND_VALID) | (extended >> 8)), (mode, object));
    }
    Some(entries)
}

/// Whether two indexes say the same. Indexes that cannot be read say the same only where they are the same.
pub fn is_same(left: &[u8], right: &[u8]) -> bool {
    left == right || parse(left).is_some_and(|left| Some(left) == parse(right))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn until_nul(&mut self) -> Option<&'a [u8]> {
        let length = self.bytes.get(self.at..)?.iter().position(|byte| *byte == 0)?;
        let text = self.take(length)?;
        self.at += 1;
        Some(text)
    }

    /// A number of seven bits a byte, the highest first, where each byte but the last adds one to what came before.
    fn offset(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        loop {
            let byte = self.take(1)?[0];
            value = value.checked_shl(7)? | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Some(value);
            }
            value = value.checked_add(1)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[test]
    fn every_version_says_what_git_says() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        git(root, &["init", "-q"]);
        fs::create_dir_all(root.join("source/deeper")).unwrap();
        for number in 0..20 {
            fs::write(root.join(format!("source/deeper/file-{number}")), number.to_string()).unwrap();
        }
        fs::write(root.join("a"), "a").unwrap();
        git(root, &["add", "."]);
        for version in ["2", "3", "4"] {
            git(root, &["update-index", "--index-version", version]);
            if version == "3" {
                fs::write(root.join("intended"), "").unwrap();
                git(root, &["add", "-N", "intended"]);
            }
            let entries = parse(&fs::read(root.join(".git/index")).unwrap()).unwrap();
            let listed: Vec<String> = entries
                .iter()
                .map(|((path, _), (mode, object))| {
                    let object = ratchet_core::history::hex(object);
                    format!("{mode:o} {object} 0\t{}", String::from_utf8_lossy(path))
                })
                .collect();
            let said = String::from_utf8(git(root, &["ls-files", "--stage"])).unwrap();
            assert_eq!(listed, said.lines().collect::<Vec<_>>(), "version {version}");
        }
    }

    #[test]
    fn a_refreshed_index_is_the_same_and_a_staged_change_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let index = || fs::read(root.join(".git/index")).unwrap();
        git(root, &["init", "-q"]);
        fs::write(root.join("a"), "a").unwrap();
        git(root, &["add", "."]);
        let before = index();
        fs::File::open(root.join("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        git(root, &["status"]);
        let refreshed = index();
        assert_ne!(before, refreshed);
        assert!(is_same(&before, &refreshed));
        fs::write(root.join("a"), "b").unwrap();
        git(root, &["add", "."]);
        assert!(!is_same(&before, &index()));
        assert!(!is_same(b"", &before) && is_same(b"no index", b"no index"));
    }
}
