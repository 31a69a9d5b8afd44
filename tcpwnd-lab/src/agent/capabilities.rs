//! Starting a program with fewer capabilities, as systemd does for the shipped service.
//!
//! Constraint: between fork and exec only system calls are made.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A capability's number (include/uapi/linux/capability.h).
pub type Capability = u32;

const CAP_PERFMON: Capability = 38;
const CAP_BPF: Capability = 39;
const LAST: Capability = 63;

/// What the shipped service has.
pub const SERVICE: &[Capability] = &[CAP_PERFMON, CAP_BPF];

/// Whom the service runs as: nobody.
const USER: u32 = 65_534;

/// Makes `command` run as an unprivileged user with exactly these capabilities, and without a way
/// to get more. Like the service, it may lock as much memory as it likes: before 5.11 that is what
/// the kernel takes maps for (deploy/systemd).
pub fn reduce(command: &mut Command, capabilities: &'static [Capability]) {
    // SAFETY: `apply` makes system calls only, and touches no memory but its own stack.
    unsafe {
        command.pre_exec(move || apply(capabilities));
    }
}

fn apply(capabilities: &[Capability]) -> io::Result<()> {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the pointer is to what the call wants, and outlives it.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for capability in 0..=LAST {
        // Fails for numbers that this kernel does not know: those are not held anyway.
        if !capabilities.contains(&capability) {
            let _ = control(libc::PR_CAPBSET_DROP, capability, 0);
        }
    }
    control(libc::PR_SET_KEEPCAPS, 1, 0)?;
    // SAFETY: no groups, so the pointer is not used; the others take no pointer.
    let changed = unsafe {
        libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) == 0
            && libc::syscall(libc::SYS_setgid, USER) == 0
            && libc::syscall(libc::SYS_setuid, USER) == 0
    };
    if !changed {
        return Err(io::Error::last_os_error());
    }
    set(capabilities)?;
    for &capability in capabilities {
        control(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as u32,
            capability,
        )?;
    }
    control(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

fn control(what: i32, first: u32, second: u32) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: none of the operations used here takes a pointer.
    let done = unsafe {
        libc::prctl(
            what,
            libc::c_ulong::from(first),
            libc::c_ulong::from(second),
            zero,
            zero,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `capset` with version 3 of its interface (include/uapi/linux/capability.h).
fn set(capabilities: &[Capability]) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        process: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header {
        version: 0x2008_0522,
        process: 0,
    };
    let mut sets = [Sets::default(); 2];
    for capability in capabilities {
        let half = &mut sets[(capability / 32) as usize];
        let bit = 1 << (capability % 32);
        half.effective |= bit;
        half.permitted |= bit;
        half.inheritable |= bit;
    }
    // SAFETY: both pointers are to what version 3 wants, and outlive the call.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
