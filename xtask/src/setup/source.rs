//! Kernels of the project's own, built from the source that Debian ships: its smallest
//! configuration, some fragments of ours, and a patch where one is wanted.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::apt::{Archive, newest};
use super::kernels::{finish, stage};
use super::packages;
use crate::command::{self, which};
use crate::kernels::Kernel;
use crate::paths;

/// What one is made of.
#[derive(Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Debian's package with the source: `linux-source-` and a version.
    pub package: &'static str,
    /// Where Debian keeps it.
    pub suites: &'static [&'static str],
    /// A patch, in the checkout.
    pub patch: Option<&'static str>,
    /// What is added to the smallest configuration, in the checkout.
    pub fragments: &'static [&'static str],
    /// How long it took on 2 cores that had nothing else to do.
    pub minutes: u32,
}

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

/// What it includes: file and package.
const HEADERS: &[(&str, &str)] = &[
    ("/usr/include/libelf.h", "libelf-dev"),
    ("/usr/include/openssl/ssl.h", "libssl-dev"),
];

/// The file beside the kernel with what it was made of.
const MADE_OF: &str = "recipe";

impl Recipe {
    /// All of it, in one text.
    fn text(&self) -> anyhow::Result<String> {
        let mut text = format!("{} {}\n", self.package, self.suites.join(" "));
        for file in self.patch.iter().chain(self.fragments) {
            let path = paths::workspace().join(file);
            text += &fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
        }
        Ok(text)
    }

    /// Whether what the cache has of the kernel was made of this.
    ///
    /// # Errors
    ///
    /// When there is no place for a cache, or a file of the recipe cannot be read.
    pub fn made(&self, kernel: &Kernel) -> anyhow::Result<bool> {
        let file = kernel.folder()?.join(MADE_OF);
        let text = self.text()?;
        Ok(fs::read_to_string(file).is_ok_and(|made_of| made_of == text))
    }
}

/// Builds it into the cache.
///
/// # Errors
///
/// When a tool is missing that cannot be installed, or a step of the build fails.
pub fn build(kernel: &Kernel, recipe: &Recipe) -> anyhow::Result<()> {
    ensure_tools()?;
    let archive = Archive::open(kernel.name, recipe.suites)?;
    let source = newest(archive.candidates(&[recipe.package.to_owned()])?)?.with_context(|| {
        let suites = recipe.suites.join(", ");
        format!("{} is not in {suites} any more", recipe.package)
    })?;
    let version = format!("{} {} (built)", source.package, source.version);
    eprintln!(
        "xtask: building {} from {version}; about {} minutes on 2 cores",
        kernel.name, recipe.minutes
    );
    let unpacked = archive.unpack(&[source])?;
    let tar = format!("usr/src/{}.tar.xz", recipe.package);
    command::run(
        Command::new("tar")
            .arg("-xJf")
            .arg(unpacked.path().join(tar))
            .arg("-C")
            .arg(unpacked.path()),
    )?;
    let tree = unpacked.path().join(recipe.package);
    let release = make_image(&tree, recipe)?;
    let staged = stage(&tree.join("arch/x86/boot/bzImage"), &release)?;
    fs::write(staged.path().join(MADE_OF), recipe.text()?)?;
    finish(staged, kernel, &version)
}

fn make_image(tree: &Path, recipe: &Recipe) -> anyhow::Result<String> {
    let workspace = paths::workspace();
    let make = || {
        let mut make = Command::new("make");
        make.arg("-C")
            .arg(tree)
            .args(["--silent", "--no-print-directory"]);
        make
    };
    if let Some(patch) = recipe.patch {
        apply(tree, patch)?;
    }
    command::run(make().arg("tinyconfig"))?;
    let fragments = recipe.fragments.iter().map(|file| workspace.join(file));
    command::run(
        Command::new("scripts/kconfig/merge_config.sh")
            .current_dir(tree)
            .args(["-m", ".config"])
            .args(fragments),
    )?;
    command::run(make().arg("olddefconfig"))?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    command::run(make().arg(format!("-j{jobs}")).arg("bzImage"))?;
    Ok(command::output(make().arg("kernelrelease"))?
        .trim()
        .to_owned())
}

fn apply(tree: &Path, patch: &str) -> anyhow::Result<()> {
    let file = fs::File::open(paths::workspace().join(patch));
    let status = Command::new("patch")
        .args(["-p1", "--forward"])
        .current_dir(tree)
        .stdin(file.with_context(|| format!("open {patch}"))?)
        .stdout(std::io::stderr())
        .status()
        .context("cannot run patch")?;
    if !status.success() {
        bail!("{patch} does not apply: {status}");
    }
    Ok(())
}

/// Installs what is missing of that.
fn ensure_tools() -> anyhow::Result<()> {
    let programs = TOOLS.iter().filter(|(program, _)| which(program).is_none());
    let headers = HEADERS.iter().filter(|(file, _)| !Path::new(file).exists());
    let missing = programs.chain(headers);
    let missing: Vec<String> = missing.map(|(_, package)| (*package).to_owned()).collect();
    packages::bring(&missing)
}
