//! A kernel in lockdown forbids reading its memory, and the agent says so: forbidden, not absent.
//! There is no way back from lockdown but a boot, hence the last scenario, and only in the
//! laboratory's own VM; where that was booted with `lockdown=confidentiality` it is the first thing
//! that the agent meets.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::bad_input::refused;
use super::bench::{Bench, Unsupported};
use super::nowhere;
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
    let booted = is_locked_down()?;
    if !booted {
        fs::write(LOCKDOWN, "confidentiality").context("failed to lock the kernel down")?;
    }
    ensure!(is_locked_down()?, "the kernel is not locked down");
    let mechanism = bench.launch.mechanism.name();
    let trace = ["trace", "--for", "1ms", "--mechanism", mechanism];
    refused(bench.launch.command(&trace), "lockdown")?;
    let said = if booted {
        nowhere::LOCKED_DOWN.holds(bench)?
    } else {
        nowhere::LOCKED_DOWN.refuses()?
    };
    let now = hooks::objects()?;
    let left: Vec<_> = now.difference(&before).collect();
    ensure!(left.is_empty(), "left in the kernel: {left:?}");
    let since = if booted { "from its boot" } else { "just now" };
    Ok(format!("locked down {since}; {said}"))
}

fn is_locked_down() -> Result<bool> {
    let modes = fs::read_to_string(LOCKDOWN).context("failed to read the lockdown mode")?;
    Ok(modes.contains("[confidentiality]"))
}
