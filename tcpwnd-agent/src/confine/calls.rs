//! The system calls that `run` makes once everything is attached, and no others.
//!
//! Constraint: the one place for that. Whatever a new part of `run` asks of the kernel goes into one
//! of these lists, as narrow as numbers can say it: what a pointer leads to no filter sees.
//!
//! What is asked for comes by way of the C library: the lists suit glibc on x86_64 and, as far as that
//! is known, on aarch64. musl would want open(2) beside openat(2) on x86_64, tkill(2) for abort(), and
//! fcntl(2) with F_SETFD.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// What an argument has to be, by its number from 0.
#[derive(Clone, Copy)]
enum Only {
    /// This value.
    Is(u8, u64),
    /// Every one of these bits is set.
    With(u8, u64),
    /// None of these bits is set.
    Without(u8, u64),
    /// The number of this process.
    Ourselves(u8),
}

/// With any arguments.
#[rustfmt::skip]
const ALWAYS: &[c_long] = &[
    // Files that are open, and what is in folders.
    libc::SYS_close, libc::SYS_fstat, libc::SYS_getdents64, libc::SYS_lseek, libc::SYS_newfstatat,
    libc::SYS_pread64, libc::SYS_read, libc::SYS_readlinkat, libc::SYS_readv, libc::SYS_statx,
    libc::SYS_write, libc::SYS_writev,
    // Scrapers' connections. No socket is made, and none is connected.
    libc::SYS_accept4, libc::SYS_getsockopt, libc::SYS_recvfrom, libc::SYS_shutdown,
    // The event loop.
    libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    // Memory.
    libc::SYS_brk, libc::SYS_madvise, libc::SYS_mremap, libc::SYS_munmap,
    // Clocks and chance.
    libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_getrandom, libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // Locks, signals, the end. No thread is made; the one that `check` tries this in ends by exit.
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_futex, libc::SYS_getpid, libc::SYS_gettid,
    libc::SYS_restart_syscall, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn, libc::SYS_sched_getaffinity, libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
];

/// Calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLD: &[c_long] = &[libc::SYS_epoll_wait, libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// What writes: as /proc/sys belongs to root, capabilities or not, this is what keeps a taken over
/// process from running programs through core_pattern. What is renamed is as good as written: see
/// [`FOR_A_FILE`].
const WRITING: u64 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;

/// `_IO('$', 1)` (include/uapi/linux/perf_event.h): switches an event off before it is closed.
const PERF_EVENT_IOC_DISABLE: u64 = 0x2401;

/// With certain arguments; where a call is there twice, with either.
const SOMETIMES: &[(c_long, &[Only])] = &[
    (libc::SYS_openat, &[Only::Without(2, WRITING)]),
    // To whom a socket is connected: no address.
    (libc::SYS_sendto, &[Only::Is(4, 0)]),
    // Memory that can be executed is what is there.
    (libc::SYS_mmap, &[Only::Without(2, libc::PROT_EXEC as u64)]),
    (
        libc::SYS_mprotect,
        &[Only::Without(2, libc::PROT_EXEC as u64)],
    ),
    (libc::SYS_fcntl, &[Only::Is(1, libc::F_GETFD as u64)]),
    (libc::SYS_fcntl, &[Only::Is(1, libc::F_GETFL as u64)]),
    (libc::SYS_ioctl, &[Only::Is(1, PERF_EVENT_IOC_DISABLE)]),
    // The own limits, to be read.
    (libc::SYS_prlimit64, &[Only::Is(0, 0), Only::Is(2, 0)]),
    // abort().
    (libc::SYS_tgkill, &[Only::Ourselves(0)]),
];

/// A file that was not there before, so that none is written over by this call alone.
const NEW: u64 = (libc::O_CREAT | libc::O_EXCL) as u64;

/// Beyond that, where a file is written anew and then put in the place of the old one, whichever that
/// is. Which folder that is in no number says: it is for landlock to say, or for the permissions of a
/// user who is not root. Where neither does, to make a file and to rename it is to execute programs
/// (/etc/passwd, /etc/ld.so.preload), so that this is not allowed then ([`super::begin`]).
const FOR_A_FILE: &[(c_long, &[Only])] = &[
    (
        libc::SYS_openat,
        &[Only::With(2, NEW), Only::Without(2, libc::O_TRUNC as u64)],
    ),
    (libc::SYS_renameat, &[]),
    (libc::SYS_renameat2, &[]),
    (libc::SYS_unlinkat, &[]),
];
#[cfg(target_arch = "x86_64")]
const FOR_A_FILE_OLD: &[(c_long, &[Only])] = &[(libc::SYS_rename, &[]), (libc::SYS_unlink, &[])];
#[cfg(not(target_arch = "x86_64"))]
const FOR_A_FILE_OLD: &[(c_long, &[Only])] = &[];

/// Lets these calls through and answers every other one with EPERM.
///
/// # Errors
/// When the lists are not as the library wants them.
pub fn allowed(makes_files: bool) -> Result<BpfProgram, BackendError> {
    let mut lists = vec![SOMETIMES];
    if makes_files {
        lists.extend([FOR_A_FILE, FOR_A_FILE_OLD]);
    }
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    for &(call, only) in lists.into_iter().flatten() {
        let rules = rules.entry(call).or_default();
        // No rule means any arguments.
        if !only.is_empty() {
            let conditions: Result<_, _> = only.iter().map(|only| only.condition()).collect();
            rules.push(SeccompRule::new(conditions?)?);
        }
    }
    for &call in ALWAYS.iter().chain(OLD) {
        rules.insert(call, Vec::new());
    }
    // EPERM and not the end: what a libc calls that nobody thought of costs a feature then, and not
    // the service.
    let otherwise = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, otherwise, SeccompAction::Allow, arch)?.try_into()
}

impl Only {
    fn condition(self) -> Result<SeccompCondition, BackendError> {
        let (argument, operator, value) = match self {
            Self::Is(argument, value) => (argument, SeccompCmpOp::Eq, value),
            Self::With(argument, bits) => (argument, SeccompCmpOp::MaskedEq(bits), bits),
            Self::Without(argument, bits) => (argument, SeccompCmpOp::MaskedEq(bits), 0),
            Self::Ourselves(argument) => (argument, SeccompCmpOp::Eq, std::process::id().into()),
        };
        // All but pointers are int, of whose upper half the kernel takes no notice. Where a pointer
        // has to be null, both halves have to.
        let len = match self {
            Self::Is(_, 0) => SeccompCmpArgLen::Qword,
            _ => SeccompCmpArgLen::Dword,
        };
        SeccompCondition::new(argument, len, operator, value)
    }
}
