//! Where the agent cannot run at all: `check`, `run` and `trace` end with exit code 2, say whether
//! what they want is forbidden or absent, never the one for the other, and name where it would be
//! switched on.
//!
//! Constraint: what is so here is asked of the kernel, never of the agent. The kernels without are
//! the project's own (kernels/without), and scenarios of them are for those alone.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, Unsupported};
use super::check_goldens::{self, Golden, RELEASE};
use crate::agent::{Caps, Launch, Mechanism, Transport};
use crate::hooks;

/// What can trace the kernel.
const TRACING: [&str; 3] = [
    "/sys/kernel/tracing",
    "/sys/bus/event_source/devices/kprobe",
    "/proc/sys/kernel/kprobes-optimization",
];

/// How `check`'s line about the end of it begins.
const REFUSAL: &str = "it cannot run here: ";

/// What is said of what is forbidden, and must not be said of what is absent; and the reverse.
const OF_FORBIDDEN: [&str; 4] = ["forbidden", "forbids", "denied", "lock"];
const OF_ABSENT: [&str; 4] = ["unsupported", "built without", "has no", "missing"];

/// What is said where something is wrong with the agent itself.
const OF_BROKEN: [&str; 4] = ["broken", "bug", "os error", "panicked"];

/// A place, and what must be said there.
pub struct Nowhere {
    golden: Golden,
    /// The line about the end names this: where it would be switched on.
    named: &'static str,
    /// What nothing that `run` says may contain.
    never: [&'static str; 4],
}

pub const LOCKED_DOWN: Nowhere = Nowhere {
    golden: check_goldens::LOCKED_DOWN,
    named: "boot with lockdown=integrity or none",
    never: OF_ABSENT,
};

const WITHOUT_BPF: Nowhere = Nowhere {
    golden: check_goldens::WITHOUT_BPF,
    named: "CONFIG_BPF_SYSCALL",
    never: OF_FORBIDDEN,
};

const WITHOUT_TRACING: Nowhere = Nowhere {
    golden: check_goldens::WITHOUT_TRACING,
    named: "CONFIG_KPROBE_EVENTS",
    never: OF_FORBIDDEN,
};

impl Nowhere {
    /// All three say so.
    ///
    /// # Errors
    /// When one does not.
    pub fn holds(&self, bench: &Bench) -> Result<String> {
        self.golden.holds(bench)?;
        let refusal = self.refuses()?;
        Ok(format!("check, run and trace end with 2: {refusal}"))
    }

    /// Those that watch say so; for a machine that has counted something, which `check` tells.
    ///
    /// # Errors
    /// When one does not.
    pub fn refuses(&self) -> Result<String> {
        let refusal = self.golden.text.lines();
        let refusal = refusal.filter_map(|line| line.strip_prefix(REFUSAL)).next();
        let refusal = refusal.context("the golden does not say why it cannot run")?;
        let refusal = refusal.replace(RELEASE, &check_goldens::release()?);
        ensure!(refusal.contains(self.named), "{refusal}");
        for arguments in [
            ["run", "--listen", "127.0.0.1:0"].as_slice(),
            &["trace", "--for", "1ms"],
            &["trace", "--for", "1ms", "--json"],
        ] {
            self.ends(arguments, &refusal)?;
        }
        Ok(refusal)
    }

    /// Ends with exit code 2 and one line on standard error, and with JSON the same on standard output.
    fn ends(&self, arguments: &[&str], refusal: &str) -> Result<()> {
        let launch = Launch {
            mechanism: Mechanism::Auto,
            transport: Transport::Auto,
            caps: Caps::All,
        };
        let done = launch.command(arguments).output();
        let done = done.context("failed to start tcpwnd")?;
        let [said, printed] = [done.stderr, done.stdout].map(String::from_utf8);
        let (said, printed) = (said?, printed?);
        ensure!(
            done.status.code() == Some(2) && said == format!("tcpwnd: {refusal}\n"),
            "{arguments:?} ended with {}, and said {said}",
            done.status
        );
        for never in self.never.iter().chain(&OF_BROKEN) {
            ensure!(!said.contains(never), "it said {never:?}: {said}");
        }
        let told = printed.lines().map(serde_json::from_str);
        let told: Vec<serde_json::Value> = told.collect::<Result<_, _>>()?;
        let told: Vec<_> = told.iter().map(|line| line["error"].as_str()).collect();
        let expected = arguments.contains(&"--json").then_some(Some(refusal));
        ensure!(
            told.iter().copied().eq(expected),
            "{arguments:?} printed {printed}"
        );
        Ok(())
    }
}

/// A kernel built without bpf(2).
pub fn without_bpf(bench: &Bench) -> Result<String> {
    if has_bpf() {
        return Err(Unsupported("this kernel has bpf(2)".to_owned()).into());
    }
    WITHOUT_BPF.holds(bench)
}

/// A kernel with bpf(2), and nothing that traces it.
pub fn without_tracing(bench: &Bench) -> Result<String> {
    if let Some(there) = TRACING.iter().find(|path| Path::new(path).exists()) {
        return Err(Unsupported(format!("this kernel has {there}")).into());
    }
    if !has_bpf() {
        return Err(Unsupported("this kernel has no bpf(2)".to_owned()).into());
    }
    let before = hooks::objects()?;
    let said = WITHOUT_TRACING.holds(bench)?;
    let now = hooks::objects()?;
    let left: Vec<_> = now.difference(&before).collect();
    ensure!(left.is_empty(), "left in the kernel: {left:?}");
    Ok(said)
}

fn has_bpf() -> bool {
    // SAFETY: no kernel has such a command, and no attributes are given.
    let done = unsafe { libc::syscall(libc::SYS_bpf, libc::c_int::MAX, 0, 0) };
    done != -1 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}
