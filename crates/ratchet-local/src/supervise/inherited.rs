//! File descriptors that a process passes to the program that it starts.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::io::{FdFlags, fcntl_setfd};

/// Lets the next program that is started have a descriptor, and gives its number.
pub(super) fn pass_on(descriptor: &OwnedFd) -> io::Result<RawFd> {
    fcntl_setfd(descriptor, FdFlags::empty())?;
    Ok(descriptor.as_raw_fd())
}

/// Takes a descriptor that the process above passed on, and keeps it from programs that are started from here.
#[expect(unsafe_code, reason = "a number becomes a descriptor again")]
pub(super) fn take(number: RawFd) -> io::Result<OwnedFd> {
    // A number that names nothing is found out here, before anything rests on it.
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}"))?;
    // SAFETY: the process above opened it for this process alone and named it in this process's role, which is read once; nothing else here owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}
