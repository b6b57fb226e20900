//! A process becomes two: the same program, at the same place of it.

use std::{fs, io};

use rustix::process::Pid;

/// Which of the two this process is.
pub(super) enum Half {
    /// The one that was there before, and the number of the new one.
    Above(Pid),
    /// The new one.
    Below,
}

/// Makes a second process out of this one. It has all that this one has: memory, descriptors, signals that are held back.
///
/// Refused where this process has threads: the second one has only the thread that asks, and what the others were at would never be finished in it.
#[expect(unsafe_code, reason = "the kernel's own interface")]
pub(super) fn split() -> io::Result<Half> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("it has threads already"));
    }
    // SAFETY: this is the only thread of the process, so nothing is held or half done by another one that the new process would be without.
    match unsafe { libc::fork() } {
        0 => Ok(Half::Below),
        number => Pid::from_raw(number.max(0)).map(Half::Above).ok_or_else(io::Error::last_os_error),
    }
}
