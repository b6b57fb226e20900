//! The binary form of manifests and layers: numbers of variable length, bytes after their length, one canonical spelling for everything.

use std::io::{self, Read, Write};

use crate::{
    digest::ContentDigest,
    manifest::{Entry, MODE_BITS},
    path::{LinkTarget, PATH_BYTES_MAX, TreePath},
};

const FOLDER: u8 = 1;
const FILE: u8 = 2;
const LINK: u8 = 3;

/// Writes a number as groups of seven bits, the lowest first.
pub(crate) fn write_number(out: &mut impl Write, mut number: u64) -> io::Result<()> {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return out.write_all(&[low]);
        }
        out.write_all(&[low | 0x80])?;
    }
}

/// Reads what [`write_number`] writes, and no longer spelling of it.
pub(crate) fn read_number(from: &mut impl Read) -> io::Result<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = read_byte(from)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return if byte == 0 && shift > 0 {
                Err(invalid("a number is not in its shortest form"))
            } else {
                Ok(number)
            };
        }
    }
    Err(invalid("a number is too large"))
}

/// Writes bytes after their number.
pub(crate) fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    write_number(out, bytes.len() as u64)?;
    out.write_all(bytes)
}

/// Reads what [`write_bytes`] writes. Nothing is reserved for more than may come.
pub(crate) fn read_bytes(from: &mut impl Read, max: usize) -> io::Result<Vec<u8>> {
    let count = usize::try_from(read_number(from)?).ok().filter(|count| *count <= max);
    let mut bytes = vec![0; count.ok_or_else(|| invalid("some bytes are too many"))?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads one byte.
pub(crate) fn read_byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Reads a path, which stays inside of its tree whoever wrote it.
pub(crate) fn read_path(from: &mut impl Read) -> io::Result<TreePath> {
    TreePath::from_bytes(&read_bytes(from, PATH_BYTES_MAX)?).map_err(|error| invalid(&error.to_string()))
}

/// Writes an entry.
pub(crate) fn write_entry(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    match entry {
        Entry::Folder { mode } => {
            out.write_all(&[FOLDER])?;
            write_number(out, u64::from(*mode))
        }
        Entry::File { mode, size, digest } => {
            out.write_all(&[FILE])?;
            write_number(out, u64::from(*mode))?;
            write_number(out, *size)?;
            out.write_all(&digest.0)
        }
        Entry::Link { target } => {
            out.write_all(&[LINK])?;
            write_bytes(out, target.as_bytes())
        }
    }
}

/// Reads what [`write_entry`] writes.
pub(crate) fn read_entry(from: &mut impl Read) -> io::Result<Entry> {
    match read_byte(from)? {
        FOLDER => Ok(Entry::Folder { mode: read_mode(from)? }),
        FILE => {
            let (mode, size) = (read_mode(from)?, read_number(from)?);
            let mut digest = [0; 32];
            from.read_exact(&mut digest)?;
            Ok(Entry::File { mode, size, digest: ContentDigest(digest) })
        }
        LINK => {
            use std::{ffi::OsString, os::unix::ffi::OsStringExt};
            let bytes = read_bytes(from, PATH_BYTES_MAX)?;
            if bytes.is_empty() || bytes.contains(&0) {
                return Err(invalid("a link points nowhere"));
            }
            Ok(Entry::Link { target: LinkTarget::new(OsString::from_vec(bytes)) })
        }
        _ => Err(invalid("an entry is of no known kind")),
    }
}

fn read_mode(from: &mut impl Read) -> io::Result<u32> {
    let mode = read_number(from)?;
    u32::try_from(mode)
        .ok()
        .filter(|mode| mode & !MODE_BITS == 0)
        .ok_or_else(|| invalid("permissions have too many bits"))
}

/// The error of something that cannot have been written here.
pub(crate) fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::testing::cases(256))]

        #[test]
        fn numbers_have_one_spelling(number: u64, bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut written = Vec::new();
            write_number(&mut written, number).unwrap();
            prop_assert_eq!(read_number(&mut written.as_slice()).unwrap(), number);
            let mut rest = bytes.as_slice();
            if let Ok(read) = read_number(&mut rest) {
                let mut again = Vec::new();
                write_number(&mut again, read).unwrap();
                prop_assert_eq!(&again, &bytes[..bytes.len() - rest.len()]);
            }
        }
    }
}
