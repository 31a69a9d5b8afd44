//! What to say of a refusal, and of what is not there, with the way out.
//!
//! Constraint: the sentences are made from an error number and from [`Host`], so that each can be
//! tested without a kernel that refuses.

use libc::{EACCES, EINVAL, ENOENT, ENOSYS, EPERM};

use super::host::{Capability, Host, Lockdown};

/// What the kernel was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Creating a map.
    CreateMap,
    /// Loading a program.
    Load,
    /// Attaching through the BPF trampoline.
    AttachFentry,
    /// Attaching through perf.
    AttachKprobe,
    /// Attaching to a raw tracepoint.
    AttachRawTracepoint,
    /// Opening the perf buffer of a CPU.
    OpenPerfBuffer,
    /// Mapping it into memory.
    MapPerfBuffer,
}

impl Host {
    /// Why the kernel refused `action`, and the way out, in one line.
    ///
    /// # Errors
    ///
    /// The bare text of `errno` when nothing more is known.
    pub fn explain(&self, action: Action, errno: i32) -> Result<String, String> {
        match (action, errno) {
            (_, EPERM | EACCES) => Ok(format!("permission denied: {}", self.refusal(action))),
            // aya opens a perf event for a kprobe before it calls bpf(2), which others have called by then.
            (Action::AttachKprobe | Action::OpenPerfBuffer, ENOSYS) => Ok(NO_PERF.to_owned()),
            (_, ENOSYS) => Ok(self.without_bpf().to_owned()),
            // bpf_base_func_proto (kernel/bpf/helpers.c) hides the helpers that read memory then.
            (Action::Load, EINVAL) if self.lockdown == Some(Lockdown::Confidentiality) => {
                Ok(LOCKED_DOWN.to_owned())
            }
            (Action::AttachKprobe | Action::AttachRawTracepoint, ENOENT) => {
                Ok("this kernel has no such symbol".to_owned())
            }
            // ENOTSUPP, which has no name in user space: no trampolines on this architecture.
            (Action::AttachFentry, 524) => {
                Ok("this kernel cannot attach fentry programs on this architecture".to_owned())
            }
            _ => Err(std::io::Error::from_raw_os_error(errno).to_string()),
        }
    }

    /// Why bpf(2) is not to be had at all.
    #[must_use]
    pub fn without_bpf(&self) -> &'static str {
        if self.filtered { HIDDEN_BPF } else { NO_BPF }
    }

    fn refusal(&self, action: Action) -> String {
        if self.lockdown == Some(Lockdown::Confidentiality) && action != Action::CreateMap {
            return LOCKED_DOWN.to_owned();
        }
        let admin = !self.lacks(Capability::SysAdmin);
        if !admin && let Some(reason) = self.perf_refusal(action) {
            return reason;
        }
        if !admin && self.last_capability.is_some_and(|last| last < 39) {
            return "this kernel has no CAP_BPF: CAP_SYS_ADMIN is needed".to_owned();
        }
        let missing: Vec<_> = [
            ("CAP_BPF", Capability::Bpf),
            ("CAP_PERFMON", Capability::Perfmon),
        ]
        .into_iter()
        .filter(|&(_, capability)| self.lacks(capability))
        .map(|(name, _)| name)
        .collect();
        if !admin && !missing.is_empty() {
            return format!(
                "{} missing: run as root, or with CAP_BPF and CAP_PERFMON",
                match missing[..] {
                    [one] => format!("{one} is"),
                    _ => format!("{} are", missing.join(" and ")),
                }
            );
        }
        match (action, self.memlock) {
            (Action::MapPerfBuffer, _) => PERF_MEMORY.to_owned(),
            (Action::CreateMap, Some(limit)) => format!(
                "only {limit} bytes of memory may be locked, which kernels before 5.11 charge maps \
                 to (ulimit -l unlimited, LimitMEMLOCK=infinity, or CAP_SYS_RESOURCE)"
            ),
            _ => "the process has the capabilities; a seccomp filter or a security module may \
                  forbid it"
                .to_owned(),
        }
    }
}

/// What stands for everything that reads the kernel's memory there.
pub(super) const LOCKED_DOWN: &str = "the kernel is locked down in confidentiality mode, which forbids \
                           reading its memory (boot with lockdown=integrity or none)";

const NO_BPF: &str = "this kernel was built without the bpf system call (CONFIG_BPF_SYSCALL)";

const NO_PERF: &str = "there is no perf_event_open system call: a seccomp filter hides it (a container's, \
                       for instance), or this kernel was built without it (CONFIG_PERF_EVENTS)";

const HIDDEN_BPF: &str = "there is no bpf system call: a seccomp filter hides it (a container's, for \
                          instance), or this kernel was built without it (CONFIG_BPF_SYSCALL)";

/// perf_mmap (kernel/events/core.c): what is beyond this much is locked memory of the user.
const PERF_MEMORY: &str = "the buffers are larger than kernel.perf_event_mlock_kb a CPU (use a smaller \
                           --perf-bytes, ulimit -l unlimited, LimitMEMLOCK=infinity, or CAP_IPC_LOCK)";

impl Host {
    /// Why perf_event_open refused somebody without CAP_SYS_ADMIN.
    fn perf_refusal(&self, action: Action) -> Option<String> {
        let (what, instead) = match action {
            Action::AttachKprobe => ("kprobes", "--mechanism fentry"),
            Action::OpenPerfBuffer => ("perf buffers", "--transport ring"),
            _ => return None,
        };
        match self.perf_event_paranoid {
            Some(level) if level > 2 => Some(format!(
                "kernel.perf_event_paranoid is {level}, which asks for CAP_SYS_ADMIN (or use \
                 {instead})"
            )),
            _ if self.lacks(Capability::Perfmon) => {
                Some(format!("{what} need CAP_PERFMON (or CAP_SYS_ADMIN)"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BPF: u64 = 1 << 39;
    const PERFMON: u64 = 1 << 38;
    const ADMIN: u64 = 1 << 21;

    fn host(effective: u64) -> Host {
        Host {
            effective: Some(effective),
            last_capability: Some(40),
            lockdown: Some(Lockdown::None),
            perf_event_paranoid: Some(2),
            memlock: None,
            filtered: false,
        }
    }

    #[test]
    fn kprobes_on_debian_want_sys_admin() {
        let host = Host {
            perf_event_paranoid: Some(3),
            ..host(BPF | PERFMON)
        };
        assert_eq!(
            host.explain(Action::AttachKprobe, EACCES).unwrap(),
            "permission denied: kernel.perf_event_paranoid is 3, which asks for CAP_SYS_ADMIN \
             (or use --mechanism fentry)"
        );
    }

    #[test]
    fn perf_buffers_on_debian_want_sys_admin() {
        let host = |effective| Host {
            perf_event_paranoid: Some(3),
            ..host(effective)
        };
        let why = |effective| host(effective).explain(Action::OpenPerfBuffer, EACCES);
        assert_eq!(
            why(BPF | PERFMON).unwrap(),
            "permission denied: kernel.perf_event_paranoid is 3, which asks for CAP_SYS_ADMIN \
             (or use --transport ring)"
        );
        assert!(!why(ADMIN).unwrap().contains("paranoid"));
        let memory = host(BPF | PERFMON).explain(Action::MapPerfBuffer, EPERM);
        assert!(memory.unwrap().contains("--perf-bytes"));
    }

    #[test]
    fn missing_capabilities_are_named() {
        let load = |effective| host(effective).explain(Action::Load, EPERM).unwrap();
        assert_eq!(
            load(BPF),
            "permission denied: CAP_PERFMON is missing: run as root, or with CAP_BPF and \
             CAP_PERFMON"
        );
        assert!(load(0).contains("CAP_BPF and CAP_PERFMON are missing"));
        assert!(load(ADMIN).contains("seccomp"));
        let old = Host {
            last_capability: Some(37),
            ..host(0)
        };
        assert!(
            old.explain(Action::Load, EPERM)
                .unwrap()
                .contains("CAP_SYS_ADMIN is needed")
        );
    }

    #[test]
    fn the_limit_on_locked_memory_is_named_when_nothing_else_is_wrong() {
        let host = Host {
            memlock: Some(65_536),
            ..host(BPF | PERFMON)
        };
        let text = host.explain(Action::CreateMap, EPERM).unwrap();
        assert!(text.contains("65536 bytes"), "{text}");
        assert!(!host.explain(Action::Load, EPERM).unwrap().contains("65536"));
    }

    #[test]
    fn lockdown_is_told_from_missing_capabilities() {
        let host = Host {
            lockdown: Some(Lockdown::Confidentiality),
            ..host(ADMIN)
        };
        for (action, errno) in [
            (Action::AttachKprobe, EPERM),
            (Action::Load, EPERM),
            (Action::Load, EINVAL),
        ] {
            assert!(host.explain(action, errno).unwrap().contains("locked down"));
        }
        assert!(
            !host
                .explain(Action::CreateMap, EPERM)
                .unwrap()
                .contains("locked down")
        );
    }

    #[test]
    fn a_call_that_the_kernel_lacks_is_told_from_one_that_a_filter_hides() {
        let text = |filtered| {
            let host = Host {
                filtered,
                ..host(ADMIN)
            };
            host.explain(Action::CreateMap, ENOSYS).unwrap()
        };
        assert_eq!(
            text(false),
            "this kernel was built without the bpf system call (CONFIG_BPF_SYSCALL)"
        );
        assert!(text(true).contains("seccomp"));
        for action in [Action::AttachKprobe, Action::OpenPerfBuffer] {
            let text = host(ADMIN).explain(action, ENOSYS).unwrap();
            assert!(text.contains("no perf_event_open system call"), "{text}");
        }
    }

    #[test]
    fn other_errors_keep_their_text() {
        assert_eq!(
            host(ADMIN).explain(Action::AttachKprobe, ENOENT).unwrap(),
            "this kernel has no such symbol"
        );
        assert!(
            host(ADMIN)
                .explain(Action::Load, libc::E2BIG)
                .unwrap_err()
                .contains("too long")
        );
    }
}
