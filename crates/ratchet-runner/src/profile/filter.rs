//! The system calls that no process of a step has any use for: they change the system, or look into other processes or around walls.

use std::{collections::BTreeMap, sync::OnceLock};

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Refused whatever their arguments are.
const REFUSED: [c_long; 40] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
];

/// Said not to be there, so that a C library takes the older call, whose arguments can be looked at.
const UNKNOWN: [c_long; 1] = [libc::SYS_clone3];

/// What makes a namespace, among the flags of a new process.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Puts words into the terminal of the person who runs ratchet, as if they were typed.
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// Programs for the kernel, to be put up one after the other. `None` where there is none for this machine. Made once.
pub(super) fn programs() -> Option<&'static [BpfProgram]> {
    static PROGRAMS: OnceLock<Option<Vec<BpfProgram>>> = OnceLock::new();
    PROGRAMS.get_or_init(made).as_deref()
}

fn made() -> Option<Vec<BpfProgram>> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let refusing = |error: i32, rules: BTreeMap<c_long, Vec<SeccompRule>>| {
        let error = SeccompAction::Errno(error.unsigned_abs());
        BpfProgram::try_from(SeccompFilter::new(rules, SeccompAction::Allow, error, machine).ok()?).ok()
    };
    let mut refused: BTreeMap<c_long, Vec<SeccompRule>> = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let rule = |argument, comparison, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, comparison, value).ok()?;
        SeccompRule::new(vec![condition]).ok()
    };
    let namespace = |flag: i32| {
        let flag = u64::from(flag.unsigned_abs());
        rule(0, SeccompCmpOp::MaskedEq(flag), flag)
    };
    refused.insert(libc::SYS_clone, NAMESPACES.into_iter().map(namespace).collect::<Option<_>>()?);
    // The kernel looks at the lower half alone.
    let typing = |command| rule(1, SeccompCmpOp::MaskedEq(0xffff_ffff), command);
    refused.insert(libc::SYS_ioctl, TYPING.into_iter().map(typing).collect::<Option<_>>()?);
    let unknown = UNKNOWN.into_iter().map(|call| (call, Vec::new())).collect();
    Some(vec![refusing(libc::EPERM, refused)?, refusing(libc::ENOSYS, unknown)?])
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_a_filter_for_this_machine() {
        let programs = super::programs().unwrap();
        assert_eq!(programs.len(), 2);
        assert!(programs.iter().all(|program| program.len() < 4096));
    }
}
