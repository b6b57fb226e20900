//! What happens in a new process before its program starts. It makes system calls with what was prepared, and asks for no memory.
//!
//! Three processes come of one: the first stays outside and ends as the program ends, so that whoever started it notices nothing; the second is the first of its
//! process namespace, buries what ends there, and takes all that is left with it when it ends; the third becomes the program.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    time::Duration,
};

use libc::{c_int, c_long, c_ulong};
use seccompiler::BpfProgram;

/// Where the new root is made. Nothing that is shown in it lies below this.
pub(super) const BASE: &str = "/proc";
const BASE_PATH: &CStr = c"/proc";

/// A part of the new root.
#[derive(Debug)]
pub(super) enum Wall {
    /// A folder to mount on.
    Folder { at: CString },
    /// A file to mount on.
    File { at: CString },
    /// A symbolic link.
    Link { to: CString, at: CString },
    /// A place of the machine.
    Bind { from: CString, at: CString, writable: bool },
    /// An empty folder over another.
    Empty { at: CString },
    /// Files in memory.
    Memory { at: CString },
    /// The processes within.
    Proc { at: CString },
}

/// All that the new process needs.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Whether it stays in the machine's network.
    pub(super) network: bool,
    /// What is written of groups, users and groups where a user namespace is made.
    pub(super) maps: [CString; 3],
    pub(super) walls: Vec<Wall>,
    /// What each wall is, for a person.
    pub(super) what: Vec<String>,
    /// Where the program starts.
    pub(super) directory: CString,
    pub(super) scope: Option<OwnedFd>,
    pub(super) filters: &'static [BpfProgram],
    pub(super) grace: Duration,
}

impl Prepared {
    /// Makes a command start within the walls. `tell` hears how far it came.
    #[expect(unsafe_code, reason = "what happens between fork and exec")]
    pub(super) fn put_around(self, command: &mut Command, tell: OwnedFd) {
        let work = move || enter(&self, tell.as_raw_fd());
        // SAFETY: the closure calls the kernel with memory that was allocated before, which is allowed in a forked process.
        unsafe { command.pre_exec(work) };
    }
}

/// Puts the walls up. Returns in the process that becomes the program.
fn enter(prepared: &Prepared, tell: RawFd) -> io::Result<()> {
    let say = |stage: u8, number: u8| {
        // Where nobody hears it nobody asks.
        let _ = write(tell, &[stage, number]);
    };
    say(b'n', b'.');
    let own = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | if prepared.network { 0 } else { libc::CLONE_NEWNET };
    if let Err(error) = unshare(own) {
        if error.raw_os_error() != Some(libc::EPERM) {
            return Err(error);
        }
        unshare(libc::CLONE_NEWUSER | own)?;
        say(b'm', b'.');
        for (file, text) in
            [c"/proc/self/setgroups", c"/proc/self/uid_map", c"/proc/self/gid_map"].iter().zip(&prepared.maps)
        {
            write_file(file, text.as_bytes())?;
        }
    }
    say(b'p', b'.');
    let [ended, end] = pipe()?;
    let first = fork()?;
    if first != 0 {
        wait_outside(first, ended);
    }
    close(ended);
    // Nobody looks into it: it is a copy of the process that knows every secret.
    prctl(libc::PR_SET_DUMPABLE, 0)?;
    prctl(libc::PR_SET_PDEATHSIG, c_ulong::from(libc::SIGKILL.unsigned_abs()))?;
    if is_alone(end) {
        exit(1);
    }
    build(prepared, &say)?;
    if !prepared.network {
        say(b'l', b'.');
        loopback_up()?;
    }
    say(b'p', b'.');
    let program = fork()?;
    if program != 0 {
        bury(program, end, prepared.grace);
    }
    close(end);
    say(b'd', b'.');
    check(change_directory(&prepared.directory))?;
    say(b'c', b'.');
    give_up_capabilities()?;
    say(b's', b'.');
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    if let Some(scope) = &prepared.scope {
        restrict(scope.as_raw_fd())?;
    }
    for filter in prepared.filters {
        seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())?;
    }
    say(b'x', b'.');
    Ok(())
}

/// Makes the root, and leaves the old one.
fn build(prepared: &Prepared, say: &dyn Fn(u8, u8)) -> io::Result<()> {
    say(b'r', b'.');
    mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)?;
    mount(Some(c"ratchet"), BASE_PATH, Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV, Some(c"mode=755,size=1m"))?;
    for (number, wall) in prepared.walls.iter().enumerate() {
        say(b'w', u8::try_from(number).unwrap_or(u8::MAX));
        put_up(wall)?;
    }
    say(b'r', b'.');
    mount(
        None,
        BASE_PATH,
        None,
        libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV,
        None,
    )?;
    check(change_directory(BASE_PATH))?;
    rustix::process::pivot_root(c".", c".")?;
    unmount_old_root()?;
    check(change_directory(c"/"))
}

fn put_up(wall: &Wall) -> io::Result<()> {
    match wall {
        Wall::Folder { at } => unless_there(make_folder(at)),
        Wall::File { at } => unless_there(make_file(at)),
        Wall::Link { to, at } => link(to, at),
        Wall::Bind { from, at, writable } => {
            mount(Some(from), at, None, libc::MS_BIND | libc::MS_REC, None)?;
            close_mount(at, !*writable)
        }
        Wall::Empty { at } => mount(
            Some(c"ratchet"),
            at,
            Some(c"tmpfs"),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_RDONLY,
            Some(c"mode=755,size=4k"),
        ),
        Wall::Memory { at } => {
            mount(Some(c"ratchet"), at, Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV, Some(c"mode=1777,size=64m"))
        }
        Wall::Proc { at } => {
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            // Older kernels do not know how to hide what cannot be looked into.
            mount(Some(c"proc"), at, Some(c"proc"), flags, Some(c"hidepid=ptraceable"))
                .or_else(|_| mount(Some(c"proc"), at, Some(c"proc"), flags, None))
        }
    }
}

/// Stays outside, in the group that the attempt is known by, and ends as the program ended.
fn wait_outside(first: c_int, ended: RawFd) -> ! {
    ignore_signals();
    keep_only(ended);
    let mut status = [0; 4];
    let told = read(ended, &mut status) == 4;
    wait_for(first);
    if !told {
        exit(127);
    }
    let status = c_int::from_ne_bytes(status);
    if libc::WIFSIGNALED(status) {
        end_by(libc::WTERMSIG(status));
    }
    exit(libc::WEXITSTATUS(status));
}

/// Buries what ends, says how the program did, and asks what outlives it to end. With this process all that is left is killed.
fn bury(program: c_int, end: RawFd, grace: Duration) -> ! {
    const PAUSE: Duration = Duration::from_millis(2);
    ignore_signals();
    keep_only(end);
    loop {
        let (pid, status) = wait_any(0);
        if pid == program {
            // Where nobody reads it the attempt is over already.
            let _ = write(end, &status.to_ne_bytes());
            break;
        }
        if pid < 0 {
            exit(1);
        }
    }
    let mut left = grace;
    let mut asked = false;
    loop {
        match wait_any(libc::WNOHANG).0 {
            0 if !asked => {
                ask_all_to_end();
                asked = true;
            }
            0 if left.is_zero() => exit(0),
            0 => {
                pause(PAUSE);
                left = left.saturating_sub(PAUSE);
            }
            pid if pid < 0 => exit(0),
            _ => {}
        }
    }
}

/// Gives up all that the user might do beyond what everybody may, and every way to get it back.
fn give_up_capabilities() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    const LAST: c_ulong = 63;
    // Root is a user like any other, its files aside; and that stays so.
    const BITS: c_ulong = 0b10_1111;
    for capability in 0..=LAST {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other?,
        }
    }
    prctl(libc::PR_SET_SECUREBITS, BITS)?;
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

fn unless_there(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

fn check(outcome: c_int) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(outcome: c_long) -> io::Result<c_int> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(c_int::try_from(outcome).unwrap_or(c_int::MAX)) }
}

#[expect(unsafe_code, reason = "the kernel's own interface")]
mod kernel {
    //! One call each. All memory that is given lives as long as the call.

    use super::{CStr, RawFd, c_int, c_ulong, check, check_long, io};
    use std::{ptr, time::Duration};

    pub(super) fn unshare(flags: c_int) -> io::Result<()> {
        // SAFETY: it takes no memory.
        check(unsafe { libc::unshare(flags) })
    }

    /// A new process without the C library's knowledge, which would ask for locks that other threads held.
    pub(super) fn fork() -> io::Result<c_int> {
        // SAFETY: without flags for shared memory it is a fork; both go on with system calls alone.
        check_long(unsafe { libc::syscall(libc::SYS_clone, c_ulong::from(libc::SIGCHLD.unsigned_abs()), 0, 0, 0, 0) })
    }

    pub(super) fn prctl(option: c_int, value: c_ulong) -> io::Result<()> {
        // SAFETY: the options that are used take a number.
        check(unsafe { libc::prctl(option, value, 0, 0, 0) })
    }

    pub(super) fn pipe() -> io::Result<[RawFd; 2]> {
        let mut ends = [0; 2];
        // SAFETY: the kernel writes two numbers.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
        Ok(ends)
    }

    pub(super) fn close(descriptor: RawFd) {
        // SAFETY: it is this process's own and is not used again.
        unsafe { libc::close(descriptor) };
    }

    pub(super) fn write(descriptor: RawFd, bytes: &[u8]) -> isize {
        // SAFETY: the bytes are there.
        unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) }
    }

    pub(super) fn read(descriptor: RawFd, bytes: &mut [u8]) -> isize {
        // SAFETY: the bytes are there.
        unsafe { libc::read(descriptor, bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    pub(super) fn write_file(path: &CStr, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the path ends with a NUL.
        let file = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
        check(file)?;
        let written = write(file, bytes);
        let error = io::Error::last_os_error();
        close(file);
        if written < 0 { Err(error) } else { Ok(()) }
    }

    pub(super) fn mount(
        from: Option<&CStr>,
        at: &CStr,
        kind: Option<&CStr>,
        flags: c_ulong,
        options: Option<&CStr>,
    ) -> io::Result<()> {
        let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: every text ends with a NUL, or is none.
        check(unsafe { libc::mount(pointer(from), at.as_ptr(), pointer(kind), flags, pointer(options).cast()) })
    }

    /// Takes from a mount, and all below it, the way to gain rights, and to write.
    pub(super) fn close_mount(at: &CStr, for_reading: bool) -> io::Result<()> {
        // SAFETY: zeros are a valid value of this plain structure.
        let mut attributes: libc::mount_attr = unsafe { std::mem::zeroed() };
        attributes.attr_set = libc::MOUNT_ATTR_NOSUID | if for_reading { libc::MOUNT_ATTR_RDONLY } else { 0 };
        let size = size_of::<libc::mount_attr>();
        // SAFETY: the path ends with a NUL, and the structure is of the size that is given.
        let outcome = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                libc::AT_FDCWD,
                at.as_ptr(),
                libc::AT_RECURSIVE,
                &raw const attributes,
                size,
            )
        };
        check_long(outcome).map(drop)
    }

    pub(super) fn unmount_old_root() -> io::Result<()> {
        // SAFETY: the path ends with a NUL.
        check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) })
    }

    pub(super) fn make_folder(at: &CStr) -> io::Result<()> {
        // SAFETY: the path ends with a NUL.
        check(unsafe { libc::mkdir(at.as_ptr(), 0o755) })
    }

    pub(super) fn make_file(at: &CStr) -> io::Result<()> {
        // SAFETY: the path ends with a NUL.
        check(unsafe { libc::mknod(at.as_ptr(), libc::S_IFREG | 0o644, 0) })
    }

    pub(super) fn link(to: &CStr, at: &CStr) -> io::Result<()> {
        // SAFETY: the paths end with a NUL.
        check(unsafe { libc::symlink(to.as_ptr(), at.as_ptr()) })
    }

    pub(super) fn change_directory(path: &CStr) -> c_int {
        // SAFETY: the path ends with a NUL.
        unsafe { libc::chdir(path.as_ptr()) }
    }

    pub(super) fn restrict(ruleset: RawFd) -> io::Result<()> {
        // SAFETY: it takes no memory.
        check_long(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) }).map(drop)
    }

    pub(super) fn ignore_signals() {
        for signal in 1..=64 {
            if signal != libc::SIGCHLD {
                // SAFETY: no handler runs; what cannot be ignored is refused.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
        }
    }

    /// Closes every descriptor but one.
    pub(super) fn keep_only(descriptor: RawFd) {
        let kept = descriptor.unsigned_abs();
        let close = |first: u32, last: u32| {
            if first <= last {
                // SAFETY: nothing in this process uses them again.
                unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            }
        };
        if kept > 0 {
            close(0, kept - 1);
        }
        close(kept + 1, u32::MAX);
    }

    pub(super) fn wait_any(options: c_int) -> (c_int, c_int) {
        let mut status = 0;
        // SAFETY: the kernel writes one number.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, options) };
        (pid, status)
    }

    pub(super) fn wait_for(pid: c_int) {
        let mut status = 0;
        // SAFETY: the kernel writes one number.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
    }

    /// Asks every process of the namespace but this one.
    pub(super) fn ask_all_to_end() {
        // SAFETY: it takes no memory. This is the first process of its namespace, so that no other is meant.
        unsafe { libc::kill(-1, libc::SIGTERM) };
    }

    pub(super) fn pause(time: Duration) {
        let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
        // SAFETY: the time is there, and the rest is not asked for.
        unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) };
    }

    /// Whether nobody reads a pipe any more.
    pub(super) fn is_alone(descriptor: RawFd) -> bool {
        let mut asked = libc::pollfd { fd: descriptor, events: 0, revents: 0 };
        // SAFETY: one structure is given, and one is there.
        unsafe { libc::poll(&raw mut asked, 1, 0) };
        asked.revents & libc::POLLERR != 0
    }

    pub(super) fn loopback_up() -> io::Result<()> {
        // SAFETY: zeros are a valid value of this plain structure.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
        // SAFETY: it takes no memory.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        check(socket)?;
        // SAFETY: the request is of the type that this command takes.
        let outcome = check(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request) });
        close(socket);
        outcome
    }

    /// Ends as something ended that a signal ended, and leaves no picture of its memory.
    pub(super) fn end_by(signal: c_int) -> ! {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is there; the signal's own way is put back, and this process is the one that is meant.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            libc::signal(signal, libc::SIG_DFL);
            libc::kill(libc::getpid(), signal);
        }
        exit(128 + signal)
    }

    pub(super) fn exit(code: c_int) -> ! {
        // SAFETY: it takes no memory and runs nothing that was registered.
        unsafe { libc::_exit(code) }
    }
}

use kernel::{
    ask_all_to_end, change_directory, close, close_mount, end_by, exit, fork, ignore_signals, is_alone, keep_only,
    link, loopback_up, make_file, make_folder, mount, pause, pipe, prctl, read, restrict, unmount_old_root, unshare,
    wait_any, wait_for, write, write_file,
};
