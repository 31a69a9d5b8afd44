//! A kernel that does not show its type information: with what `tcpwnd btf --shrink` made of it
//! before, in a folder, verdicts and causes are the same.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, Unsupported, compare};
use super::stage::{PORT, Rmem, Stage};
use crate::agent::{Caps, Launch, Mechanism};
use crate::mounts::with_mounts;

/// Where kernels show it.
const SHOWN: &str = "/sys/kernel/btf";

/// How many times smaller what is needed of it is at the least.
const SMALLER: u64 = 20;

pub fn play(bench: &Bench) -> Result<String> {
    if bench.launch.caps != Caps::All {
        let reason = "fentry wants the kernel's own BTF, and kprobes CAP_SYS_ADMIN here";
        return Err(Unsupported(reason.to_owned()).into());
    }
    let folder = tempfile::tempdir().context("failed to make a directory")?;
    let (btf, empty) = (folder.path().join("btf"), folder.path().join("empty"));
    for path in [&btf, &empty] {
        fs::create_dir(path).context("failed to make a directory")?;
    }
    let (small, whole) = shrink(&btf)?;
    let stage = Stage::with_cookies()?;
    let launch = Launch {
        mechanism: Mechanism::Kprobe,
        transport: bench.launch.transport,
        caps: Caps::All,
    };
    let btf = btf.to_str().context("a path that is no text")?;
    let mut agent = with_mounts(&[(&empty, Path::new(SHOWN))], || {
        launch.trace(&PORT.to_string(), &["--btf", btf])
    })?;
    let mut sound = stage.peer(1);
    sound.connect()?;
    let mut peer = stage.peer(2);
    peer.syn()?;
    let synack = peer.synack()?;
    stage.change(Rmem::Lowered)?;
    peer.ack(&synack)?;
    let accepted = stage.broker.wait_accepted(2)?;
    agent.wait_handshakes(2)?;
    let report = agent.finish()?;
    report.of(sound.local())?.expect("ok", "cookie", None)?;
    let damaged = report.of(peer.local())?;
    damaged.expect("mismatch", "cookie", Some("tcp_rmem_changed"))?;
    compare(&report, PORT, &accepted, &[])?;
    Ok(format!(
        "{small} of {whole} bytes; 1 ok, mismatch {:?} to {:?}",
        damaged.advertised(),
        damaged.used()
    ))
}

/// Makes the file for this kernel; returns its length and that of the whole.
fn shrink(folder: &Path) -> Result<(u64, u64)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    let release = release.context("failed to read the kernel's release")?;
    let file = folder.join(format!("{}.btf", release.trim()));
    let done = Command::new("tcpwnd")
        .args(["btf", "--shrink"])
        .arg(&file)
        .output()
        .context("failed to start tcpwnd")?;
    ensure!(
        done.status.success(),
        "tcpwnd btf ended with {}: {}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    let length = |path: &Path| {
        let data = fs::metadata(path);
        Ok::<_, anyhow::Error>(
            data.with_context(|| format!("no {}", path.display()))?
                .len(),
        )
    };
    let (small, whole) = (length(&file)?, length(&Path::new(SHOWN).join("vmlinux"))?);
    ensure!(small * SMALLER < whole, "{small} bytes are left of {whole}");
    Ok((small, whole))
}
