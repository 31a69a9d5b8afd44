//! What the host says this process may do: /proc, /sys, and the limit on locked memory.
//!
//! Constraint: observes only, but for [`lift_memlock_limit`]; what follows from it is said in
//! `preflight`.

use std::fs;
use std::str::FromStr;

/// A capability by its number (include/uapi/linux/capability.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Contains the two others on every kernel.
    SysAdmin = 21,
    /// Kprobes and reading kernel memory, from 5.8 on.
    Perfmon = 38,
    /// Maps and programs, from 5.8 on.
    Bpf = 39,
}

/// `/sys/kernel/security/lockdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Nothing is forbidden.
    None,
    /// The kernel cannot be modified; reading it is allowed.
    Integrity,
    /// The kernel's memory cannot be read either: neither kprobes nor BPF helpers that read.
    Confidentiality,
}

/// What this process may do, as far as the host says so; `None` where it does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host {
    /// CapEff, a bit per capability.
    pub effective: Option<u64>,
    /// The highest capability that the kernel knows.
    pub last_capability: Option<u8>,
    /// The lockdown mode.
    pub lockdown: Option<Lockdown>,
    /// `kernel.perf_event_paranoid`; above 2 exists in Debian's and Ubuntu's kernels only.
    pub perf_event_paranoid: Option<i32>,
    /// Bytes of memory that may be locked, `None` for no limit; kernels before 5.11 charge maps
    /// to it.
    pub memlock: Option<u64>,
    /// A seccomp filter is in force, which can hide what the kernel has.
    pub filtered: bool,
}

impl Host {
    /// Looks at /proc and /sys.
    #[must_use]
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").ok();
        Self {
            effective: effective(&status),
            last_capability: number("/proc/sys/kernel/cap_last_cap"),
            lockdown: lockdown.as_deref().and_then(lockdown_mode),
            perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            memlock: memlock(),
            filtered: status.contains("\nSeccomp:\t2\n"),
        }
    }

    /// Whether the process has a capability; `None` when that is not known.
    #[must_use]
    pub fn has(&self, capability: Capability) -> Option<bool> {
        self.effective
            .map(|effective| effective >> capability as u8 & 1 == 1)
    }

    /// Whether the process is known not to have it.
    pub(super) fn lacks(&self, capability: Capability) -> bool {
        self.has(capability) == Some(false)
    }
}

/// Lifts the limit on locked memory as far as the process may; where it may not and the kernel
/// is old enough to mind, creating a map says so.
pub fn lift_memlock_limit() {
    let all = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: reads the struct, changes a limit of this process, touches no memory.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) } == 0 {
        return;
    }
    let Some(mut limit) = memlock_limit() else {
        return;
    };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above. Failure leaves the limit as it was.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

fn memlock_limit() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes the struct it is given.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (done == 0).then_some(limit)
}

fn memlock() -> Option<u64> {
    let limit = memlock_limit()?.rlim_cur;
    (limit != libc::RLIM_INFINITY).then_some(limit)
}

fn number<T: FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The mode in brackets, as in `none [integrity] confidentiality`.
fn lockdown_mode(text: &str) -> Option<Lockdown> {
    match text.split_once('[')?.1.split_once(']')?.0 {
        "none" => Some(Lockdown::None),
        "integrity" => Some(Lockdown::Integrity),
        "confidentiality" => Some(Lockdown::Confidentiality),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000000c000000000\n"),
            Some(1 << Capability::Bpf as u8 | 1 << Capability::Perfmon as u8)
        );
        assert_eq!(effective("Name:\tx\n"), None);
        assert_eq!(
            lockdown_mode("none [integrity] confidentiality\n"),
            Some(Lockdown::Integrity)
        );
        assert_eq!(lockdown_mode(""), None);
        assert!(Host::read().effective.is_some());
    }
}
