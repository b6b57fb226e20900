//! Process namespaces: what the kernel allows here, and how one is made.

use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::AsFd,
    path::Path,
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{getgid, getuid},
    thread::{
        CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags, capabilities, clear_ambient_capability_set,
        configure_capability_in_ambient_set, move_into_link_name_space, set_capabilities, unshare_unsafe,
    },
};

/// Whether the children of this process are born into a new process namespace from now on. Refused where the user may not do that.
pub(super) fn begin() -> io::Result<()> {
    unshare(UnshareFlags::NEWPID)
}

/// Takes [`begin`] back.
pub(super) fn take_back() -> io::Result<()> {
    let own = fs::File::open("/proc/self/ns/pid")?;
    Ok(move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?)
}

/// Whether it is worth trying in a user namespace: some systems let one be made and then forbid all that it is for.
pub(super) fn may_work_in_user_namespace() -> bool {
    let is_on = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    if is_on("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") {
        return false;
    }
    // The kernel mounts a new /proc only where the old one hides nothing; containers cover parts of it.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    !points.any(|point| point.starts_with("/proc/") && point != "/proc/sys/fs/binfmt_misc")
}

/// Like [`begin`], in a user namespace where this user is who he was and may make one. What is started next may mount its `/proc`.
pub(super) fn begin_in_user_namespace() -> io::Result<()> {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWPID)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    let own = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: own.inheritable | CapabilitySet::SYS_ADMIN, ..own })?;
    configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, true)?;
    Ok(())
}

/// Gives the first process of a namespace, and all after it, a `/proc` of their own.
pub(super) fn mount_proc() -> io::Result<()> {
    if std::process::id() != 1 {
        return Err(io::Error::new(ErrorKind::InvalidInput, "this is not the first process of a namespace"));
    }
    unshare(UnshareFlags::NEWNS)?;
    // What is mounted on the machine later shows here too, and nothing that is mounted here shows there.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("proc", Path::new("/proc"), "proc", flags, None)?)
}

/// Gives up what the user namespace gave: from here on nobody may do more than the user may.
pub(super) fn drop_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

#[expect(unsafe_code, reason = "the kernel's own interface")]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: only `FILES` is dangerous, by taking descriptors from other threads; it is never among the flags.
    Ok(unsafe { unshare_unsafe(flags) }?)
}
