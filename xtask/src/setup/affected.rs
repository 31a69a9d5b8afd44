//! The kernel with the bug of 2020: Debian's 5.10 with its fix taken out again.
//!
//! A copy beside the checkout is used where it lies there; everybody else builds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::apt::{Archive, newest};
use super::kernels::{finish, stage};
use crate::command::{self, which};
use crate::kernels::{self, Kernel};
use crate::paths;

/// Where Debian keeps 5.10's source.
const SUITES: &[&str] = &["bullseye", "bullseye-security"];
const SOURCE_PACKAGE: &str = "linux-source-5.10";

/// The patch and the configuration, in the checkout.
const PATCH: &str = "kernels/affected/without-909172a.patch";
const CONFIG: &str = "kernels/affected/config.fragment";

/// What the build calls: program and package.
const TOOLS: &[(&str, &str)] = &[
    ("bc", "bc"),
    ("bison", "bison"),
    ("flex", "flex"),
    ("make", "make"),
    ("pahole", "pahole"),
    ("patch", "patch"),
    ("perl", "perl"),
];

/// Takes the image from beside the checkout.
///
/// # Errors
///
/// When none lies there.
pub fn copy(kernel: &Kernel) -> anyhow::Result<()> {
    let image = find_copy().context("no ../shared/kernels/bzImage-5.10.*-affected")?;
    eprintln!(
        "setup: taking kernel {} from {}",
        kernel.name,
        image.display()
    );
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let release = name.trim_start_matches("bzImage-").to_owned();
    finish(
        stage(&image, &release)?,
        kernel,
        &format!("{release} (copy)"),
    )
}

fn find_copy() -> Option<PathBuf> {
    let folder = paths::shared("kernels")?;
    let mut images: Vec<_> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("bzImage-5.10.") && name.ends_with("-affected")
        })
        .collect();
    images.sort();
    images.pop()
}

/// Builds it from Debian's source into the cache.
///
/// # Errors
///
/// When a tool is missing or a step of the build fails.
pub fn build() -> anyhow::Result<()> {
    let kernel = kernels::find("5.10-affected").context("the table has no affected kernel")?;
    check_tools()?;
    let archive = Archive::open("affected", SUITES)?;
    let source = newest(archive.candidates(&[SOURCE_PACKAGE.to_owned()])?)?
        .with_context(|| format!("{SOURCE_PACKAGE} is not in {} any more", SUITES.join(", ")))?;
    let version = format!("{} {} (built)", source.package, source.version);
    eprintln!("xtask: building {version}; about 15 minutes on 2 cores");
    let unpacked = archive.unpack(&[source])?;
    let tar = unpacked.path().join("usr/src/linux-source-5.10.tar.xz");
    command::run(
        Command::new("tar")
            .arg("-xJf")
            .arg(tar)
            .arg("-C")
            .arg(unpacked.path()),
    )?;
    let tree = unpacked.path().join("linux-source-5.10");
    let release = make_image(&tree)?;
    finish(
        stage(&tree.join("arch/x86/boot/bzImage"), &release)?,
        kernel,
        &version,
    )
}

fn make_image(tree: &Path) -> anyhow::Result<String> {
    let workspace = paths::workspace();
    let make = || {
        let mut make = Command::new("make");
        make.arg("-C")
            .arg(tree)
            .args(["--silent", "--no-print-directory"]);
        make
    };
    let patch = fs::File::open(workspace.join(PATCH)).with_context(|| format!("open {PATCH}"))?;
    let status = Command::new("patch")
        .args(["-p1", "--forward"])
        .current_dir(tree)
        .stdin(patch)
        .stdout(std::io::stderr())
        .status()
        .context("cannot run patch")?;
    if !status.success() {
        bail!("{PATCH} does not apply: {status}");
    }
    command::run(make().arg("tinyconfig"))?;
    command::run(
        Command::new("scripts/kconfig/merge_config.sh")
            .current_dir(tree)
            .args(["-m", ".config"])
            .arg(workspace.join(CONFIG)),
    )?;
    command::run(make().arg("olddefconfig"))?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    command::run(make().arg(format!("-j{jobs}")).arg("bzImage"))?;
    Ok(command::output(make().arg("kernelrelease"))?
        .trim()
        .to_owned())
}

fn check_tools() -> anyhow::Result<()> {
    let mut missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| which(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    for (header, package) in [
        ("/usr/include/libelf.h", "libelf-dev"),
        ("/usr/include/openssl/ssl.h", "libssl-dev"),
    ] {
        if !Path::new(header).exists() {
            missing.push(package);
        }
    }
    if !missing.is_empty() {
        bail!("missing: apt-get install {}", missing.join(" "));
    }
    Ok(())
}
