//! The machine around the command: mounts, loopback, limits, power.
//!
//! Everything a scenario may expect of a host is here; scenarios mount nothing themselves.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::Never;

/// Open files allowed to the command: thousands of clients at once want one each.
const OPEN_FILES: libc::rlim_t = 1 << 20;

/// Where commands are looked up inside the VM.
pub const SEARCH_PATH: &str = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One file system: type, place, options, and whether every stock kernel has it.
struct Mount {
    kind: &'static str,
    target: &'static str,
    options: &'static str,
    required: bool,
}

const fn mount(kind: &'static str, target: &'static str, options: &'static str) -> Mount {
    Mount {
        kind,
        target,
        options,
        required: true,
    }
}

const MOUNTS: [Mount; 12] = [
    mount("proc", "/proc", ""),
    mount("sysfs", "/sys", ""),
    mount("devtmpfs", "/dev", "mode=0755"),
    mount("tmpfs", "/run", "mode=0755"),
    mount("tmpfs", "/tmp", "mode=1777"),
    mount("bpf", "/sys/fs/bpf", "mode=0700"),
    mount("cgroup2", "/sys/fs/cgroup", ""),
    mount("tracefs", "/sys/kernel/tracing", ""),
    mount("tmpfs", "/dev/shm", "mode=1777"),
    // Where the kernel lists its probes, and what lockdown is switched on with: not everywhere.
    Mount {
        kind: "debugfs",
        target: "/sys/kernel/debug",
        options: "",
        required: false,
    },
    Mount {
        kind: "securityfs",
        target: "/sys/kernel/security",
        options: "",
        required: false,
    },
    // The affected kernel is built without pseudo terminals; only `vm shell` would want them.
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        options: "",
        required: false,
    },
];

/// Mounts the file systems, brings loopback up, loads what cannot load itself, raises limits.
///
/// # Errors
///
/// Names the step that failed. Nothing is undone: the caller reports and powers off.
pub fn bring_up() -> anyhow::Result<()> {
    let wanted = |mount: &&Mount| !hides_files(mount) && is_known(mount.kind);
    for mount in MOUNTS.iter().filter(wanted) {
        if let Err(error) = mount_one(mount)
            && mount.required
        {
            return Err(error).with_context(|| format!("mount {} on {}", mount.kind, mount.target));
        }
    }
    for (target, link) in [("/proc/self/fd", "/dev/fd"), ("/proc/mounts", "/etc/mtab")] {
        symlink(target, link).with_context(|| format!("link {link}"))?;
    }
    raise_open_files().context("raise the limit of open files")?;
    // SAFETY: PID 1 has a single thread at this point, so nobody reads the environment meanwhile.
    unsafe { std::env::set_var("PATH", SEARCH_PATH) };
    run_quietly("ip", &["link", "set", "lo", "up"])?;
    // Everything else loads on demand through its alias; /dev/net/tun exists only afterwards.
    if !Path::new("/dev/net/tun").exists() {
        run_quietly("modprobe", &["tun"])?;
    }
    Ok(())
}

/// Whether the kernel has such a file system. Some of the project's own kernels lack some on purpose;
/// scenarios that want them say so.
fn is_known(kind: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems");
    // The first mount is what this is read from.
    known.map_or(true, |known| {
        known
            .lines()
            .any(|line| line.ends_with(&format!("\t{kind}")))
    })
}

/// Whether the mount would hide files that xtask was told to add (`--add x:/tmp/x`).
fn hides_files(mount: &Mount) -> bool {
    let mut entries = std::fs::read_dir(mount.target).into_iter().flatten();
    mount.kind == "tmpfs" && entries.next().is_some()
}

fn mount_one(mount: &Mount) -> io::Result<()> {
    std::fs::create_dir_all(mount.target)?;
    let kind = CString::new(mount.kind)?;
    let target = CString::new(mount.target)?;
    let options = CString::new(mount.options)?;
    // SAFETY: the three strings are valid C strings and outlive the call.
    let result = unsafe {
        libc::mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            0,
            options.as_ptr().cast(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn raise_open_files() -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: OPEN_FILES,
        rlim_max: OPEN_FILES,
    };
    // SAFETY: `limit` is a valid rlimit for the duration of the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn run_quietly(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("run {program}"))?;
    if !status.success() {
        bail!("{program} {}: {status}", arguments.join(" "));
    }
    Ok(())
}

/// Switches the machine off at once; nothing on it is worth a sync.
///
/// # Errors
///
/// What the kernel answered, if it refused.
pub fn power_off() -> io::Result<Never> {
    // SAFETY: takes no pointers; as PID 1 of a VM this ends the VM only.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
    Err(io::Error::last_os_error())
}
