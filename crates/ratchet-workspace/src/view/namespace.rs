//! A mount namespace in which a directory's path shows something else, and how a process is started in it.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::symlink, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change},
    pipe::{PipeFlags, pipe_with},
    process::{Signal, chdir, getgid, getpid, getuid, set_parent_process_death_signal},
    thread::{
        CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags, clear_ambient_capability_set,
        move_into_link_name_space, set_capabilities, unshare_unsafe,
    },
};

use crate::error::WorkspaceError;

/// What is mounted. All of it is prepared before there is a process that mounts: that one must not ask for memory.
pub(super) struct Mount {
    /// What is seen instead of the directory.
    from: CString,
    /// The options of an overlay, whose paths are relative to `from`; a bind mount has none.
    overlay: Option<CString>,
}

impl Mount {
    /// Folders, the topmost first, under the folder `upper` in a room.
    pub(super) fn overlay(room: &Path, lowers: &[PathBuf]) -> Result<Self, WorkspaceError> {
        // Short names: the kernel takes one page of options, whatever the paths are, and knows no way to write some of them.
        let mut names = Vec::new();
        for (number, lower) in lowers.iter().enumerate() {
            let name = number.to_string();
            symlink(lower, room.join(&name)).map_err(|error| WorkspaceError::writing(room, error))?;
            names.push(name);
        }
        if names.is_empty() {
            // The kernel wants something under a view, even where there was nothing.
            let empty = room.join("empty");
            fs::create_dir(&empty).map_err(|error| WorkspaceError::writing(&empty, error))?;
            names.push("empty".to_owned());
        }
        // No redirects and no files that are only half there: the layer must say by itself what changed.
        let options = format!(
            "lowerdir={},upperdir=upper,workdir=work,userxattr,index=off,metacopy=off,volatile",
            names.join(":")
        );
        Ok(Self { from: c_string(room)?, overlay: Some(c_string(Path::new(&options))?) })
    }

    /// A folder.
    pub(super) fn bind(folder: &Path) -> Result<Self, WorkspaceError> {
        Ok(Self { from: c_string(folder)?, overlay: None })
    }
}

/// A mount namespace, alive as long as this is.
#[derive(Debug)]
pub(super) struct Namespace {
    /// The user namespace that it belongs to, where this user may mount only in one of his own.
    user: Option<OwnedFd>,
    mounts: OwnedFd,
    root: OwnedFd,
}

/// With whose rights it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// This user's, if they suffice; else those that he has in a user namespace of his own.
    Best,
    /// Those that he has in a user namespace of his own.
    #[cfg(test)]
    UserNamespace,
}

/// What the process that mounts is at, told before each part.
const STAGES: [(u8, &str); 5] = [
    (b'n', "a mount namespace is not allowed"),
    (b'u', "a user namespace is not allowed"),
    (b'm', "the user cannot be kept in a user namespace"),
    (b'p', "mounts cannot be kept private"),
    (b'o', "the file system cannot be laid over the directory"),
];
const IN_USER_NAMESPACE: u8 = b'U';
const READY: u8 = b'R';

impl Namespace {
    /// Makes one in which `at` shows what is mounted.
    pub(super) fn make(at: &Path, what: &Mount, rights: Rights) -> Result<Self, WorkspaceError> {
        let refused = |reason: String| WorkspaceError::NoView { reason };
        let pipes = || Ok::<_, Errno>((pipe_with(PipeFlags::CLOEXEC)?, pipe_with(PipeFlags::CLOEXEC)?));
        let ((told, tell), (wait, go)) = pipes().map_err(|error| refused(io::Error::from(error).to_string()))?;
        let target = c_string(at)?;
        let (from, overlay) = (what.from.clone(), what.overlay.clone());
        let (user, group) = (getuid().as_raw(), getgid().as_raw());
        let maps = [
            (c"/proc/self/setgroups", "deny".to_owned()),
            (c"/proc/self/uid_map", format!("{user} {user} 1")),
            (c"/proc/self/gid_map", format!("{group} {group} 1")),
        ];
        // The program is never reached: the process does its work before, and says that it failed.
        let mut command = Command::new("/proc/self/exe");
        let work = move || -> io::Result<()> {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            let say = |stage: u8| rustix::io::write(&tell, &[stage]).map(drop);
            say(b'n')?;
            let own = if rights == Rights::Best { unshare(UnshareFlags::NEWNS) } else { Err(Errno::PERM) };
            match own {
                Err(Errno::PERM) => {
                    say(b'u')?;
                    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
                    say(b'm')?;
                    for (file, text) in &maps {
                        let file = openat(CWD, *file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                        rustix::io::write(&file, text.as_bytes())?;
                    }
                    say(IN_USER_NAMESPACE)?;
                }
                other => other?,
            }
            say(b'p')?;
            mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
            say(b'o')?;
            match &overlay {
                Some(options) => {
                    chdir(from.as_c_str())?;
                    // Its name says whose view it is to whoever looks at the mounts of a process.
                    mount(from.as_c_str(), target.as_c_str(), c"overlay", MountFlags::empty(), options.as_c_str())?;
                }
                None => mount_bind_recursive(from.as_c_str(), target.as_c_str())?,
            }
            say(READY)?;
            rustix::io::write(&tell, &getpid().as_raw_pid().to_ne_bytes())?;
            // Until everything that others need of this process is opened.
            rustix::io::read(&wait, &mut [0])?;
            Err(Errno::CANCELED.into())
        };
        before_start(&mut command, work);
        thread::scope(|scope| {
            let process = scope.spawn(move || {
                let outcome = command.spawn();
                drop(command);
                outcome
            });
            let opened = open_when_ready(File::from(told), at);
            let _ = rustix::io::write(&go, b".");
            let error = match process.join() {
                Ok(Err(error)) => error,
                Ok(Ok(_)) => io::Error::other("the process that mounts went on"),
                Err(panic) => std::panic::resume_unwind(panic),
            };
            opened.map_err(|stage| {
                let stage =
                    STAGES.iter().find(|(byte, _)| *byte == stage).map_or("it cannot be opened", |(_, text)| text);
                refused(format!("{stage}: {error}"))
            })
        })
    }

    /// The directory as it is in the namespace, for this process.
    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.root.as_raw_fd()))
    }

    /// Makes a command start in the namespace, in a folder of it, with no more rights than its user has.
    pub(super) fn place(&self, command: &mut Command, directory: &Path) -> io::Result<()> {
        let user = self.user.as_ref().map(OwnedFd::try_clone).transpose()?;
        let mounts = self.mounts.try_clone()?;
        let directory = CString::new(directory.as_os_str().as_bytes())?;
        let enter = move || -> io::Result<()> {
            if let Some(user) = &user {
                move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
            }
            move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
            chdir(directory.as_c_str())?;
            if user.is_some() {
                clear_ambient_capability_set()?;
                let none = CapabilitySet::empty();
                set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
            }
            Ok(())
        };
        before_start(command, enter);
        Ok(())
    }
}

/// Reads what the process that mounts says, and takes hold of its namespace once it is ready. Else the stage that it ended in.
fn open_when_ready(mut told: File, at: &Path) -> Result<Namespace, u8> {
    let (mut stage, mut in_user_namespace) = (0, false);
    let mut byte = [0];
    while let Ok(1) = told.read(&mut byte) {
        match byte[0] {
            IN_USER_NAMESPACE => in_user_namespace = true,
            READY => {
                let mut pid = [0; 4];
                told.read_exact(&mut pid).map_err(|_| READY)?;
                let process = PathBuf::from(format!("/proc/{}", i32::from_ne_bytes(pid)));
                return take_hold(&process, in_user_namespace, at).map_err(|_| READY);
            }
            other => stage = other,
        }
    }
    Err(stage)
}

fn take_hold(process: &Path, in_user_namespace: bool, at: &Path) -> io::Result<Namespace> {
    let open = |name: &str| File::open(process.join("ns").join(name)).map(OwnedFd::from);
    let user = in_user_namespace.then(|| open("user")).transpose()?;
    let inside = process.join("root").join(at.strip_prefix("/").unwrap_or(at));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Namespace { user, mounts: open("mnt")?, root: openat(CWD, inside, flags, Mode::empty())? })
}

fn c_string(path: &Path) -> Result<CString, WorkspaceError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| WorkspaceError::NoView { reason: "a path has a byte in it that no path can have".to_owned() })
}

#[expect(unsafe_code, reason = "the kernel's own interface")]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: only `FILES` is dangerous, by taking descriptors from other threads; it is never among the flags.
    unsafe { unshare_unsafe(flags) }
}

/// Runs something in a new process before its program starts. It makes system calls with what was prepared, and asks for no memory.
#[expect(unsafe_code, reason = "what happens between fork and exec")]
fn before_start(command: &mut Command, work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the closures of this module call the kernel with memory that was allocated before, which is allowed in a forked process.
    unsafe { command.pre_exec(work) };
}
