//! What the agent's programs are measured against, in benches/reference: the same capture written by hand
//! in C, programs that do nothing, the way of the talk, and bpftrace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::command;
use crate::paths;
use crate::setup::{bpftrace, clang};
use crate::vm::job::Added;

/// Where the laboratory expects it (tcpwnd-lab/src/cost/watcher.rs).
const PLACE: &str = "/usr/lib/tcpwnd-bench";

/// The objects.
const OBJECTS: [&str; 3] = ["reference", "empty", "talk"];

/// Scripts for bpftrace.
const SCRIPTS: [&str; 3] = ["handshakes", "evidence", "windows"];

/// What a VM gets to measure against: all of it, and bpftrace where it is wanted (200 MB).
///
/// # Errors
///
/// When there is no compiler, or it fails, or bpftrace cannot be had.
pub fn added(with_bpftrace: bool) -> anyhow::Result<Vec<Added>> {
    let mut added = vec![Added {
        from: build()?,
        path: PLACE.into(),
    }];
    if with_bpftrace {
        added.push(Added {
            from: bpftrace::ensure().context("bpftrace cannot be had")?,
            path: bpftrace::PLACE.into(),
        });
    }
    Ok(added)
}

/// Compiles all of it, and returns the folder that holds it.
fn build() -> anyhow::Result<PathBuf> {
    let clang = clang::ensure()?;
    let sources = paths::workspace().join("benches/reference");
    let folder = paths::target().join("bench/reference");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    // clang for another machine does not look for the headers of this one.
    let multiarch = command::output(Command::new("cc").arg("-print-multiarch"))?;
    let headers = Path::new("/usr/include").join(multiarch.trim());
    for name in OBJECTS {
        command::run(
            Command::new(&clang)
                .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf"])
                .arg("-D__TARGET_ARCH_x86")
                .arg("-I")
                .arg(&headers)
                .arg("-c")
                .arg(sources.join(format!("{name}.bpf.c")))
                .arg("-o")
                .arg(folder.join(format!("{name}.bpf.o"))),
        )?;
    }
    for script in SCRIPTS.map(|name| format!("{name}.bt")) {
        fs::copy(sources.join(&script), folder.join(&script))
            .with_context(|| format!("copy {script}"))?;
    }
    command::run(
        Command::new("cc")
            .args(["-O2", "-Wall", "-Werror", "-o"])
            .arg(folder.join("loader"))
            .arg(sources.join("loader.c"))
            .arg("-lbpf"),
    )?;
    Ok(folder)
}
