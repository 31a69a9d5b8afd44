//! A kernel in lockdown forbids reading its memory, and the agent says so. There is no way back
//! from lockdown but a boot, hence the last scenario, and only in the laboratory's own VM.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::bad_input::refused;
use super::bench::{Bench, Unsupported};
use crate::hooks;

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

pub fn play(bench: &Bench) -> Result<String> {
    let init = fs::read_link("/proc/1/exe").context("failed to look at PID 1")?;
    let ours = std::env::current_exe().context("failed to look at this program")?;
    if init.file_name() != ours.file_name() {
        return Err(Unsupported("only in the laboratory's own VM".to_owned()).into());
    }
    if !Path::new(LOCKDOWN).exists() {
        return Err(Unsupported("this kernel has no lockdown".to_owned()).into());
    }
    // tracefs is shut by then.
    let before = hooks::objects()?;
    fs::write(LOCKDOWN, "confidentiality").context("failed to lock the kernel down")?;
    let mechanism = bench.launch.mechanism.name();
    let trace = ["trace", "--for", "1ms", "--mechanism", mechanism];
    refused(bench.launch.command(&trace), "lockdown")?;
    let now = hooks::objects()?;
    let left: Vec<_> = now.difference(&before).collect();
    ensure!(left.is_empty(), "left in the kernel: {left:?}");
    Ok("refused with one line and exit code 2".to_owned())
}
