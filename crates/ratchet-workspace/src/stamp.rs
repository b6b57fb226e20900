//! What tells cheaply that a file was not touched, and the digests that are known because of it.

use std::{
    io::{self, BufReader, Read, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, invalid},
    digest::ContentDigest,
    manifest::{BYTES_MAX, COMPRESSION, ENTRIES_MAX, end},
    path::TreePath,
};

/// A file that changed this shortly before it was read could change again under the same stamp: the kernel's clock for files ticks this slowly at worst.
const DOUBT: Duration = Duration::from_millis(50);

/// The same where the file system itself counts in whole seconds, or in twos.
const DOUBT_COARSE: Duration = Duration::from_secs(2);

/// What the system notes of a file. No program can set all of it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The file's number in its file system.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content changed, in nanoseconds since 1970.
    pub modified: i64,
    /// When anything of it changed, in nanoseconds since 1970.
    pub changed: i64,
}

impl Stamp {
    /// The stamp of a file.
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether it is the same file with the same content, though it may have been renamed since.
    pub(crate) fn is_same_content(&self, other: &Self) -> bool {
        (self.inode, self.size, self.modified) == (other.inode, other.size, other.modified)
    }

    /// Whether the file could have changed again since it was read at a time, and still have this stamp.
    pub(crate) fn is_doubtful_at(&self, read: SystemTime) -> bool {
        let last = self.changed.max(self.modified);
        let doubt = if last % 1_000_000_000 == 0 { DOUBT_COARSE } else { DOUBT };
        let settled = read.checked_sub(doubt).and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        i64::try_from(settled.as_nanos()).unwrap_or(i64::MAX) <= last
    }
}

fn nanoseconds(seconds: i64, rest: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest.try_into().unwrap_or_default())
}

/// The digests of files that were read before, by path, with the stamps that they are true under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatCache {
    /// In the order of paths.
    known: Vec<(TreePath, Stamp, ContentDigest)>,
}

impl StatCache {
    /// How many files are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes what is known, in the order of paths.
    pub(crate) fn new(known: Vec<(TreePath, Stamp, ContentDigest)>) -> Self {
        Self { known }
    }

    /// Looks paths up that come in order.
    pub(crate) fn lookup(&self) -> impl FnMut(&TreePath, &Stamp) -> Option<ContentDigest> + '_ {
        let mut rest = self.known.iter().peekable();
        move |path, stamp| {
            while rest.next_if(|(known, ..)| known < path).is_some() {}
            rest.peek().filter(|(known, then, _)| known == path && then == stamp).map(|(_, _, digest)| *digest)
        }
    }

    /// Writes it.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut encoder = zstd::Encoder::new(out, COMPRESSION)?;
        // A wrong digest here would be believed: so a flipped bit makes the whole cache worth nothing.
        encoder.include_checksum(true)?;
        let mut out = io::BufWriter::new(encoder);
        out.write_all(MAGIC)?;
        codec::write_number(&mut out, self.known.len() as u64)?;
        for (path, stamp, digest) in &self.known {
            codec::write_bytes(&mut out, path.as_bytes())?;
            codec::write_number(&mut out, stamp.inode)?;
            codec::write_number(&mut out, stamp.size)?;
            out.write_all(&stamp.modified.to_le_bytes())?;
            out.write_all(&stamp.changed.to_le_bytes())?;
            out.write_all(&digest.0)?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.finish().map(drop)
    }

    /// Reads what [`Self::write`] writes.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut from = BufReader::new(zstd::Decoder::new(from)?.take(BYTES_MAX));
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(invalid("it is no cache of a version that is known here"));
        }
        let count = codec::read_number(&mut from)?;
        if count > ENTRIES_MAX as u64 {
            return Err(invalid("a cache has too many entries"));
        }
        let mut known: Vec<(TreePath, Stamp, ContentDigest)> = Vec::new();
        for _ in 0..count {
            let path = codec::read_path(&mut from)?;
            let (inode, size) = (codec::read_number(&mut from)?, codec::read_number(&mut from)?);
            let (mut modified, mut changed, mut digest) = ([0; 8], [0; 8], [0; 32]);
            from.read_exact(&mut modified)?;
            from.read_exact(&mut changed)?;
            from.read_exact(&mut digest)?;
            let stamp =
                Stamp { inode, size, modified: i64::from_le_bytes(modified), changed: i64::from_le_bytes(changed) };
            if known.last().is_some_and(|(last, ..)| *last >= path) {
                return Err(invalid("the paths of a cache are not in order"));
            }
            known.push((path, stamp, ContentDigest(digest)));
        }
        end(&mut from)?;
        Ok(Self { known })
    }
}

const MAGIC: &[u8; 8] = b"rt-stat1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_read_as_it_was_written_and_damage_is_told() {
        let stamp = Stamp { inode: 7, size: 3, modified: 1_700_000_000_000_000_001, changed: -5 };
        let known =
            ["a", "a/b", "b"].map(|path| (TreePath::new(path).unwrap(), stamp, ContentDigest::of(path.as_bytes())));
        let cache = StatCache::new(known.to_vec());
        let mut written = Vec::new();
        cache.write(&mut written).unwrap();
        assert_eq!(StatCache::read(written.as_slice()).unwrap(), cache);
        for at in 0..written.len() {
            let mut damaged = written.clone();
            damaged[at] ^= 4;
            assert!(StatCache::read(damaged.as_slice()).map_or(true, |read| read == cache), "byte {at}");
            assert!(StatCache::read(&written[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_digest_is_known_only_under_the_same_stamp() {
        let stamp = |changed| Stamp { inode: 7, size: 3, modified: 0, changed };
        let path = |text: &str| TreePath::new(text).unwrap();
        let cache = StatCache::new(vec![
            (path("a"), stamp(1), ContentDigest::of(b"a")),
            (path("c"), stamp(1), ContentDigest::of(b"c")),
        ]);
        let mut lookup = cache.lookup();
        let found =
            [("a", 1), ("b", 1), ("c", 2)].map(|(name, changed)| lookup(&path(name), &stamp(changed)).is_some());
        assert_eq!(found, [true, false, false]);
        let now = UNIX_EPOCH + Duration::from_secs(100);
        let coarse = [97, 98, 99, 101].map(|second| stamp(second * 1_000_000_000).is_doubtful_at(now));
        assert_eq!(coarse, [false, true, true, true]);
        let fine = [99_900_000_001, 99_960_000_001, 101_000_000_001].map(|time| stamp(time).is_doubtful_at(now));
        assert_eq!(fine, [false, true, true]);
    }
}
