//! What cannot work ends at once, with one clear line and exit code 2, and leaves nothing attached.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use crate::agent::{Caps, Launch};
use crate::findings::Line;
use crate::hooks::Hooks;

/// The kernel's own type information.
const BTF: &str = "/sys/kernel/btf/vmlinux";

pub fn play(bench: &Bench) -> Result<String> {
    let before = Hooks::look()?;
    let launch = &bench.launch;
    let mechanism = launch.mechanism.name();
    let with = |head: &[&str], more: &[&str]| {
        launch.command(&[&["trace", "--mechanism", mechanism], head, more].concat())
    };
    let trace = |more: &[&str]| with(&["--for", "1ms"], more);
    refused(trace(&["--port", "nonsense"]), "nonsense")?;
    refused(trace(&["--host", "10.0.0.0/99"]), "10.0.0.0/99")?;
    refused(with(&[], &["--for", "soon"]), "soon")?;
    refused(trace(&["--ring-bytes", "5000"]), "5000")?;
    refused(trace(&["--no-such-flag"]), "--no-such-flag")?;
    refused(trace(&["--btf", "/dev/null"]), "/dev/null")?;

    let bare = Launch {
        caps: Caps::None,
        ..launch.clone()
    };
    refused(bare.command(&["trace", "--for", "1ms"]), "CAP_")?;

    let directory = tempfile::tempdir().context("failed to make a directory")?;
    refused(without_btf(trace(&[]), directory.path())?, "BTF")?;
    refused(
        without_symbol(trace(&[]), directory.path())?,
        "tcp_make_synack",
    )?;

    let taken = TcpListener::bind("127.0.0.1:0").context("failed to listen")?;
    let address = taken
        .local_addr()
        .context("failed to read an address")?
        .to_string();
    refused(launch.command(&["run", "--listen", &address]), &address)?;

    let json = trace(&["--json", "--port", "nonsense"]);
    ensure!(
        refused(json, "nonsense")?
            .lines()
            .next()
            .is_some_and(|line| { matches!(serde_json::from_str(line), Ok(Line::Error { .. })) }),
        "with --json the error is not on standard output as JSON"
    );
    let left = Hooks::look()?.beyond(&before);
    ensure!(left.is_empty(), "left in the kernel: {left:?}");
    Ok("11 refused with one line and exit code 2, nothing left".to_owned())
}

/// Runs something that must be refused with one line that names `object`; returns its standard
/// output.
pub fn refused(mut command: Command, object: &str) -> Result<String> {
    let done = command.output().context("failed to start tcpwnd")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.code() == Some(2) && said.trim_end().lines().count() == 1,
        "{command:?} should end with 2 and one line, but: {}, {said}",
        done.status
    );
    ensure!(
        said.contains(object),
        "the message does not name {object}: {said}"
    );
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A kernel without type information, as far as this child can see.
fn without_btf(command: Command, directory: &Path) -> Result<Command> {
    let empty = directory.join("empty");
    fs::create_dir(&empty).context("failed to make a directory")?;
    Ok(mounted(
        command,
        vec![(path(&empty)?, path("/sys/kernel/btf".as_ref())?)],
    ))
}

/// A kernel without `tcp_make_synack`, as far as this child can see.
fn without_symbol(command: Command, directory: &Path) -> Result<Command> {
    let (symbols, types) = (directory.join("kallsyms"), directory.join("vmlinux"));
    let renamed = replace(&fs::read("/proc/kallsyms").context("failed to read symbols")?);
    fs::write(&symbols, renamed).context("failed to write symbols")?;
    let renamed = replace(&fs::read(BTF).context("failed to read BTF")?);
    fs::write(&types, renamed).context("failed to write BTF")?;
    let mounts = vec![
        (path(&symbols)?, path("/proc/kallsyms".as_ref())?),
        (path(&types)?, path(BTF.as_ref())?),
    ];
    Ok(mounted(command, mounts))
}

/// The same with another function's name in place of `tcp_make_synack`.
fn replace(bytes: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"tcp_make_synack";
    let mut bytes = bytes.to_vec();
    for start in 0..bytes.len().saturating_sub(NAME.len()) {
        if bytes[start..].starts_with(NAME) {
            bytes[start..start + NAME.len()].copy_from_slice(b"tcp_fake_synack");
        }
    }
    bytes
}

fn path(path: &Path) -> Result<std::ffi::CString> {
    std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).context("a path with a zero byte")
}

/// Gives the child a mount namespace of its own, with these paths over those.
fn mounted(mut command: Command, mounts: Vec<(std::ffi::CString, std::ffi::CString)>) -> Command {
    let apply = move || {
        let none = std::ptr::null();
        // SAFETY: between fork and exec; system calls only, whose strings outlive them.
        let done = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(
                    none,
                    c"/".as_ptr(),
                    none,
                    libc::MS_REC | libc::MS_PRIVATE,
                    none.cast(),
                ) == 0
                && mounts.iter().all(|(from, over)| {
                    libc::mount(
                        from.as_ptr(),
                        over.as_ptr(),
                        none,
                        libc::MS_BIND,
                        none.cast(),
                    ) == 0
                })
        };
        if done {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: `apply` makes system calls only.
    unsafe { command.pre_exec(apply) };
    command
}
