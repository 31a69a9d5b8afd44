//! What cannot work ends at once, with one clear line and exit code 2, and leaves nothing attached.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use crate::agent::{Caps, Launch};
use crate::findings::Line;
use crate::hooks::Hooks;
use crate::mounts::with_mounts;

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
    without_btf(trace(&[]), directory.path())?;
    without_symbol(trace(&[]), directory.path())?;

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
fn without_btf(command: Command, directory: &Path) -> Result<String> {
    let empty = directory.join("empty");
    fs::create_dir(&empty).context("failed to make a directory")?;
    with_mounts(&[(&empty, Path::new("/sys/kernel/btf"))], || {
        refused(command, "BTF")
    })
}

/// A kernel without `tcp_make_synack`, as far as this child can see.
fn without_symbol(command: Command, directory: &Path) -> Result<String> {
    let (symbols, types) = (directory.join("kallsyms"), directory.join("vmlinux"));
    let renamed = replace(&fs::read("/proc/kallsyms").context("failed to read symbols")?);
    fs::write(&symbols, renamed).context("failed to write symbols")?;
    let renamed = replace(&fs::read(BTF).context("failed to read BTF")?);
    fs::write(&types, renamed).context("failed to write BTF")?;
    let mounts = [
        (symbols.as_path(), Path::new("/proc/kallsyms")),
        (&types, Path::new(BTF)),
    ];
    with_mounts(&mounts, || refused(command, "tcp_make_synack"))
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
