//! Reads a VM's kernel log for what must never be in it.

/// What a line must not contain.
const BAD: &[&str] = &[
    "Kernel panic",
    "Oops",
    "BUG:",
    "WARNING:",
    "[ cut here ]",
    "Call Trace",
    "general protection fault",
    "soft lockup",
    "hard LOCKUP",
    "detected stall",
    "blocked for more than",
    "unable to handle",
    "Out of memory",
    "segfault",
    "scheduling while atomic",
    "possible recursive locking",
];

/// What a line about BPF or probes must not contain beside its subject.
const BPF_SUBJECTS: &[&str] = &["bpf", "btf", "kprobe", "ftrace", "fprobe", "tracing_prog"];
const BPF_BAD: &[&str] = &[
    "fail", "error", "warn", "invalid", "bad ", "leak", "corrupt",
];

/// What looks bad and is not.
const HARMLESS: &[&str] = &[
    // Said at boot by kernels that let unprivileged processes load programs.
    "Unprivileged eBPF is enabled",
];

/// The first bad line of a kernel log.
pub fn first_bad_line(log: &str) -> Option<&str> {
    log.lines().find(|line| is_bad(line))
}

fn is_bad(line: &str) -> bool {
    if HARMLESS.iter().any(|harmless| line.contains(harmless)) {
        return false;
    }
    if BAD.iter().any(|bad| line.contains(bad)) {
        return true;
    }
    let line = line.to_lowercase();
    let contains = |words: &[&str]| words.iter().any(|word| line.contains(word));
    contains(BPF_SUBJECTS) && contains(BPF_BAD)
}

#[cfg(test)]
mod tests {
    use super::first_bad_line;

    #[test]
    fn a_quiet_boot_is_fine() {
        let log = "[    0.00] Linux version 6.1.0 (debian-kernel@lists.debian.org)\n\
                   [    0.10] Spectre V2 : WARNING-free\n\
                   [    0.20] Unprivileged eBPF is enabled, data leaks possible via Spectre v2\n\
                   [    0.30] bpf_jit enabled\n";
        assert_eq!(first_bad_line(log), None);
    }

    #[test]
    fn what_must_fail_a_run() {
        for line in [
            "[ 1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
            "[ 1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "[ 1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [swapper/0:1]",
            "[ 1.0] WARNING: CPU: 0 PID: 1 at kernel/bpf/verifier.c:1 check+0x1/0x2",
            "[ 1.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[ 1.0] BPF: Invalid name_offset:1",
            "[ 1.0] general protection fault, probably for non-canonical address",
        ] {
            let log = format!("[ 0.0] fine\n{line}\n[ 2.0] fine\n");
            assert_eq!(first_bad_line(&log), Some(line));
        }
    }
}
