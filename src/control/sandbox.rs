//! The sandbox that a gateway puts itself into: no new privileges, and no system calls that it never needs. The unit does
//! the same and more (configs/gate64.service); this also holds for `gate64 run` by hand and in a container.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// System calls that fail with EPERM: those that change other processes, the kernel, mounts, clocks or namespaces. A
/// list of allowed calls would break programs in `[health]`.
const DENIED: &[libc::c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_by_handle_at,
    // The kernel and the machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    // Clocks.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // Parts of the kernel with many past errors.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_personality,
];

/// Families of sockets that gate64 and its programs use.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Enters the sandbox, for this thread and all that it starts. Call it while the process has one thread.
///
/// # Errors
/// The kernel or the architecture has no seccomp, or a filter of the service manager forbids another one.
pub(super) fn enter() -> Result<(), seccompiler::Error> {
    seccompiler::apply_filter(&program()?)
}

fn program() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let differs = |family: &libc::c_int| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family.unsigned_abs().into())
    };
    let other: Result<Vec<_>, _> = FAMILIES.iter().map(differs).collect();
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(other?)?]);
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use nix::sched::{CloneFlags, unshare};
    use socket2::{Domain, Socket, Type};

    #[test]
    fn calls_that_are_never_needed_are_refused() {
        // The filter holds for this thread alone.
        let thread = std::thread::spawn(|| {
            super::enter().expect("entered");
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("readable");
            assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
            assert_eq!(unshare(CloneFlags::CLONE_NEWUSER), Err(Errno::EPERM));
            let refused = Socket::new(Domain::from(libc::AF_ALG), Type::SEQPACKET, None);
            assert_eq!(refused.err().and_then(|why| why.raw_os_error()), Some(libc::EPERM));
            for family in [Domain::UNIX, Domain::IPV4, Domain::IPV6, Domain::from(libc::AF_NETLINK)] {
                assert!(Socket::new(family, Type::DGRAM, None).is_ok(), "{family:?}");
            }
        });
        thread.join().expect("held");
    }
}
