//! `vm packages`: the packages installed, upgraded and removed in a clean Debian under systemd, where
//! the service has to follow (xtask/install/install.sh).
//!
//! That Debian is the initramfs, and its systemd is PID 1: no disk, and no module is needed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::cpio::Cpio;
use super::exec::{judge, prepare};
use super::qemu::{Machine, Outcome, Vm};
use crate::kernels::{self, Kernel};
use crate::parse_kernel;
use crate::paths;
use crate::printed::Printed;
use crate::release::install::{self, FOLDER, LAST_LINE, SCRIPT};
use crate::release::{Release, layout};
use crate::setup::{Missing, clean_root};

/// Where it runs unless told otherwise.
const KERNEL: &str = "newest";

/// How long it may take; emulated, systemd alone takes half a minute.
const TIMEOUT: Duration = Duration::from_secs(900);

/// The service that runs the script, wired as PID 1 of the other VMs wires its command.
const SERVICE: &str = "\
[Unit]
Description=Installs, upgrades and removes packages
After=multi-user.target

[Service]
Type=oneshot
Environment=HOME=/root LC_ALL=C.UTF-8
ExecStart=/bin/sh -c '/@FOLDER@/@SCRIPT@ >/dev/ttyS1 2>/dev/ttyS2; code=$$?; sleep 1; \
    echo exit $$code >/dev/ttyS3; sleep 1; systemctl reboot --force --force'
";

/// Where units are.
const UNITS: &str = "etc/systemd/system";

/// Where.
#[derive(Args)]
pub struct Options {
    /// The kernel to boot
    #[arg(long, value_parser = parse_kernel, default_value = KERNEL)]
    kernel: &'static Kernel,
}

/// Sets up, builds, boots and installs.
///
/// # Errors
///
/// When set-up, a build or QEMU fails, or the script stopped early.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let release = Release::of(&prepare(options.kernel)?.agent)?;
    in_vm(options.kernel, release)
}

/// The service follows the packages on the newest kernel; what was seen is told on stdout.
///
/// # Errors
///
/// When it does not, or it cannot be tried.
pub fn hold(missing: &[Missing], release: Release) -> anyhow::Result<()> {
    let kernel = kernels::find(KERNEL).context("no such kernel")?;
    if let Some(missing) = missing.iter().find(|missing| missing.kernel == kernel) {
        bail!("kernel {KERNEL} cannot be had: {}", missing.reason);
    }
    let code = in_vm(kernel, release)?;
    ensure!(code == ExitCode::SUCCESS, "it does not hold");
    Ok(())
}

fn in_vm(kernel: &'static Kernel, release: Release) -> anyhow::Result<ExitCode> {
    let printed = Printed::default();
    let code = judge(&play(kernel, release, printed.clone())?);
    let whole = printed.text().trim_end().ends_with(LAST_LINE);
    ensure!(code != ExitCode::SUCCESS || whole, "it stopped early");
    Ok(code)
}

/// Boots the clean Debian with this kernel, and has it run the script.
fn play(
    kernel: &'static Kernel,
    release: Release,
    stdout: impl Write + Send + 'static,
) -> anyhow::Result<Outcome> {
    let image = kernel
        .cached()?
        .with_context(|| format!("kernel {} is not in the cache", kernel.name))?;
    let root = clean_root::unpack()?;
    install::put(release, root.path())?;
    wire(root.path())?;
    let folder = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(paths::vm_folder()?)?;
    let initramfs = folder.path().join("initramfs");
    pack(root.path(), &initramfs)?;
    let vm = Vm {
        image: &image,
        machine: Machine::Ordinary,
        initramfs: &initramfs,
        folder: folder.path(),
        timeout: TIMEOUT,
        parameters: "",
    };
    vm.run(stdout, io::stderr())
}

/// Has systemd run the script, and nothing wait for what there is not.
fn wire(root: &Path) -> anyhow::Result<()> {
    let units = root.join(UNITS);
    let service = SERVICE.replace("@FOLDER@", FOLDER);
    let service = service.replace("@SCRIPT@", SCRIPT);
    layout::write(&units.join("packages.service"), &service)?;
    let link = |target: &str, name: &str| {
        let name = units.join(name);
        fs::create_dir_all(name.parent().unwrap_or(&units))?;
        std::os::unix::fs::symlink(target, &name)
            .with_context(|| format!("make {}", name.display()))
    };
    link(
        "../packages.service",
        "multi-user.target.wants/packages.service",
    )?;
    link("/lib/systemd/system/multi-user.target", "default.target")?;
    // There is no udev that would bring the console's device.
    link("/dev/null", "serial-getty@ttyS0.service")?;
    std::os::unix::fs::symlink("usr/lib/systemd/systemd", root.join("init"))?;
    Ok(())
}

/// The root as an initramfs. Unlike the laboratory's it keeps its links as they are.
fn pack(root: &Path, place: &Path) -> anyhow::Result<()> {
    let mut cpio = Cpio::new(BufWriter::new(File::create(place)?));
    add(&mut cpio, root, Path::new("/"))?;
    cpio.device(Path::new("/dev/console"), (5, 1))?;
    cpio.device(Path::new("/dev/null"), (1, 3))?;
    cpio.finish()?.flush().context("write the initramfs")
}

fn add(cpio: &mut Cpio<impl Write>, root: &Path, below: &Path) -> anyhow::Result<()> {
    let from = root.join(below.strip_prefix("/")?);
    let mut entries = fs::read_dir(&from)
        .with_context(|| format!("read {}", from.display()))?
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = below.join(entry.file_name());
        let metadata = entry.metadata()?;
        let permissions = metadata.permissions().mode() & 0o7777;
        if metadata.is_symlink() {
            cpio.link(&path, &fs::read_link(entry.path())?)?;
        } else if metadata.is_dir() {
            cpio.folder(&path, permissions)?;
            add(cpio, root, &path)?;
        } else if metadata.is_file() {
            let content = fs::read(entry.path());
            let content = content.with_context(|| format!("read {}", entry.path().display()))?;
            cpio.file(&path, permissions, &content)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FOLDER, SCRIPT, UNITS, wire};
    use std::fs;

    #[test]
    fn the_service_runs_the_script() {
        let root = tempfile::tempdir().unwrap();
        wire(root.path()).unwrap();
        let wants = root.path().join(UNITS).join("multi-user.target.wants");
        let service = fs::read_to_string(wants.join("packages.service")).unwrap();
        assert!(
            service.contains(&format!("'/{FOLDER}/{SCRIPT} >")),
            "{service}"
        );
    }
}
