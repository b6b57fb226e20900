//! SHA-256 digests, as bytes.

use std::{
    fmt,
    io::{self, Read, Write},
};

use ratchet_core::{history::hex, ids};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of some content. A tree has one for each file, so it is kept as bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest(pub [u8; 32]);

impl ContentDigest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of all that can be read, and how many bytes that is.
    pub fn of_reader(mut content: impl Read) -> io::Result<(Self, u64)> {
        let mut hashing = Hashing::new(io::sink());
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(hashing.finish()),
                Ok(count) => hashing.write_all(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads it from hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || digits.iter().any(|digit| !digit.is_ascii_hexdigit() || digit.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The digest of something that a blob store keeps, where it is one.
    pub fn from_core(digest: &ids::Digest) -> Option<Self> {
        Self::from_hex(digest.as_str())
    }

    /// The digest under which a blob store keeps the content.
    pub fn to_core(self) -> ids::Digest {
        ids::Digest::new(hex(&self.0))
    }
}

const READ_BYTES: usize = 128 * 1024;

/// Passes on what is written and digests it on the way.
pub(crate) struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    /// Nothing is written yet.
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    /// The digest and the number of all bytes that were written.
    pub(crate) fn finish(self) -> (ContentDigest, u64) {
        (ContentDigest(self.hasher.finalize().into()), self.bytes)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ContentDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| de::Error::custom("this is no SHA-256"))
    }
}
