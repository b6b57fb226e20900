use std::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering, fence},
};

use rusqlite::{Connection, ffi};

/// The words of a header: <https://sqlite.org/walformat.html>, "The WAL-Index Header".
const WORDS: usize = 12;

/// The first region of the memory that all processes share, as the database maps it.
const REGION_BYTES: i32 = 32 * 1024;

/// The header of the write-ahead log's index, which lies in memory that every process with the file open shares. Each commit, whoever makes it, changes it: so whether
/// anybody committed since is seen without asking the database, which would take two locks for the answer.
#[derive(Debug)]
pub(super) struct SharedHeader(NonNull<AtomicU32>);

/// What stood in the header at one moment. Equal headers, equal content of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header([u32; WORDS]);

// SAFETY: the memory is only ever read here, word by word as atomics.
#[expect(unsafe_code, reason = "the pointer leads to memory that is shared anyway")]
unsafe impl Send for SharedHeader {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "the pointer leads to memory that is shared anyway")]
unsafe impl Sync for SharedHeader {}

impl SharedHeader {
    /// The header of the file that a connection has open, with its write-ahead log in use; `None` where the database does not say where it is. It must not be read after
    /// the connection was closed.
    #[expect(unsafe_code, reason = "the database hands out the memory through its C interface only")]
    pub(super) fn of(connection: &Connection) -> Option<Self> {
        let mut file: *mut ffi::sqlite3_file = ptr::null_mut();
        let to_file: *mut c_void = (&raw mut file).cast();
        // SAFETY: the connection is open, and this call stores one pointer at the address that it is given.
        let code = unsafe {
            ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), ffi::SQLITE_FCNTL_FILE_POINTER, to_file)
        };
        if code != ffi::SQLITE_OK || file.is_null() {
            return None;
        }
        // SAFETY: the file of an open connection has its methods, or none where it could not be opened.
        let methods = unsafe { (*file).pMethods.as_ref() }?;
        let map = methods.xShmMap.filter(|_| methods.iVersion >= 2)?;
        let mut region: *mut c_void = ptr::null_mut();
        // SAFETY: asked not to extend it, this maps the first region where it is there already, else it stores a null pointer. It stays
        // mapped as long as the connection is open.
        let code = unsafe { map(file, 0, REGION_BYTES, 0, (&raw mut region).cast()) };
        if code != ffi::SQLITE_OK {
            return None;
        }
        NonNull::new(region.cast()).map(Self)
    }

    /// What stands there now; `None` while somebody writes it.
    pub(super) fn read(&self) -> Option<Header> {
        // A commit writes the second copy, then the first: where both are the same, neither is half written.
        let first = self.copy(0);
        fence(Ordering::Acquire);
        let second = self.copy(WORDS);
        (first == second).then_some(Header(first))
    }

    #[expect(unsafe_code, reason = "the words lie in memory that the database mapped")]
    fn copy(&self, from: usize) -> [u32; WORDS] {
        // SAFETY: both copies lie within the region, which is mapped as long as the connection is open.
        std::array::from_fn(|word| unsafe { self.0.add(from + word).as_ref() }.load(Ordering::Acquire))
    }
}

impl Header {
    /// Whether exactly one transaction, or none, was committed between `earlier` and this.
    pub(super) fn is_at_most_one_commit_after(&self, earlier: &Self) -> bool {
        self == earlier || self.0[2] == earlier.0[2].wrapping_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::{self, Patience};
    use super::*;

    #[test]
    fn a_header_tells_whether_anybody_has_committed_and_how_often() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let own = connection::open(&path, &Patience::default()).unwrap();
        let header = SharedHeader::of(&own).expect("the bundled database says where it is");
        let other = Connection::open(&path).unwrap();
        let write = |connection: &Connection, age: u32| {
            connection.execute("UPDATE execution SET revision = ?1", [age]).unwrap();
            connection.execute_batch("BEGIN IMMEDIATE; CREATE TABLE t (x); DROP TABLE t; COMMIT").unwrap();
            header.read().expect("nobody writes now")
        };
        let first = write(&own, 1);
        assert_eq!(header.read(), Some(first), "a read changes nothing");
        let second = write(&other, 2);
        assert!(second != first && second.is_at_most_one_commit_after(&first));
        let third = write(&other, 3);
        assert!(!third.is_at_most_one_commit_after(&first) && third.is_at_most_one_commit_after(&second));
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let fourth = write(&own, 4);
        assert!(fourth != third && fourth.is_at_most_one_commit_after(&third), "also where the log begins anew");
    }
}
