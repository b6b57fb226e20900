//! Signals on their way from a person to the engine.

use std::{fs, io, mem::MaybeUninit};

use rustix::process::Signal;

/// What a person, a terminal or a service manager sends to the process that it knows.
pub(super) const PASSED_ON: [Signal; 9] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::TSTP,
    Signal::CONT,
];

/// Told to a reaper without a namespace when its guard died: no person sends this one.
pub(super) const GUARD_DIED: Signal = Signal::POWER;

/// Signals that are held back until they are asked for. They stay held back in the processes that this one becomes.
pub(super) struct Signals {
    held: libc::sigset_t,
}

impl Signals {
    /// Holds back the ends of children, and all that those above the engine listen to, less what whoever started this process chose to ignore (`nohup`).
    /// Before there is anybody to pass them to, so that none is lost and none ends one process alone.
    pub(super) fn hold() -> io::Result<Self> {
        let ignored = ignored();
        let heard = PASSED_ON.into_iter().filter(|kind| ignored & bit(*kind) == 0);
        let held = set(heard.chain([Signal::CHILD, GUARD_DIED]));
        set_mask(&held)?;
        Ok(Self { held })
    }

    /// Waits for the next one.
    #[expect(unsafe_code, reason = "the kernel's own interface")]
    pub(super) fn next(&self) -> io::Result<Signal> {
        let mut number = 0;
        // SAFETY: both pointers are to values that live as long as the call.
        match unsafe { libc::sigwait(&raw const self.held, &raw mut number) } {
            0 => Signal::from_named_raw(number).ok_or_else(|| io::Error::other("a signal without a name")),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Holds no signal back any more, as in a program that was just started.
pub(super) fn let_through() -> io::Result<()> {
    set_mask(&set([]))
}

#[expect(unsafe_code, reason = "the kernel's own interface")]
fn set(kinds: impl IntoIterator<Item = Signal>) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call writes the whole set; the others change a set that is there, by numbers of signals that there are.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for kind in kinds {
            libc::sigaddset(set.as_mut_ptr(), kind.as_raw());
        }
        set.assume_init()
    }
}

#[expect(unsafe_code, reason = "the kernel's own interface")]
fn set_mask(held: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the pointer is to a set that lives as long as the call, and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, held, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn bit(kind: Signal) -> u64 {
    1 << (kind.as_raw() - 1)
}

/// The signals that this process ignores, as the kernel says.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
