//! The machine that something was measured on.

use std::fs;
use std::process::Command;

use anyhow::Context;

use crate::command;
use crate::kernels::Kernel;
use crate::setup::qemu;

/// This machine and the VM, in a sentence or two.
///
/// # Errors
///
/// When one of them does not say what it is.
pub fn describe(kernel: &Kernel) -> anyhow::Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = value(&cpuinfo, "model name").unwrap_or("an unknown processor");
    let processors = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let load = fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let image = kernel.cached()?.context("the kernel is gone")?;
    let said = command::output(Command::new(qemu::ensure(kernel.arch)?).arg("--version"))?;
    let emulator = said.lines().next().unwrap_or_default();
    let emulator = emulator.split(" (").next().unwrap_or_default();
    let compiler = command::output(Command::new("rustc").arg("-V"))?;
    Ok(format!(
        "On {processors} processors of {model} with a load of {load} at the end; VMs: {emulator} (TCG), \
         Linux {} (Debian {}); {}.",
        image.release,
        image.version,
        compiler.trim()
    ))
}

/// What stands behind a name and a colon.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}
