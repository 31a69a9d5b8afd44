//! Fetches the kernels of the table into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::apt::{Archive, Candidate, newest};
use super::{affected, source};
use crate::command;
use crate::kernels::{Kernel, Source};
use crate::paths;

/// Fetches `kernel` unless the cache has it; with `refresh`, also if the archive has a newer one.
///
/// # Errors
///
/// When the archive does not offer it any more, or a download fails.
pub fn ensure(kernel: &Kernel, refresh: bool) -> anyhow::Result<()> {
    let cached = kernel.cached()?;
    if cached.is_some() && !refresh {
        return Ok(());
    }
    match &kernel.source {
        Source::Affected => match cached {
            Some(_) => Ok(()),
            None => affected::copy(kernel),
        },
        Source::Built(recipe) => match cached.is_some() && recipe.made(kernel)? {
            true => Ok(()),
            false => source::build(kernel, recipe),
        },
        Source::Debian { suites, release } => {
            let archive = Archive::open_for(kernel.arch, kernel.name, suites)?;
            let found = find(&archive, release, kernel.arch.flavour())?
                .with_context(|| format!("not in {} any more", suites.join(", ")))?;
            if cached.is_some_and(|image| image.version == found.to_string()) {
                return Ok(());
            }
            eprintln!("setup: fetching kernel {}: {found}", kernel.name);
            fetch(&archive, &found, kernel)
        }
    }
}

/// How to get `kernel` otherwise.
///
/// # Errors
///
/// When there is no place for a cache.
pub fn by_hand(kernel: &Kernel) -> anyhow::Result<String> {
    Ok(match &kernel.source {
        Source::Built(_) => format!("by hand: cargo xtask setup --kernel {}", kernel.name),
        Source::Affected => "by hand: cargo xtask kernel affected".to_owned(),
        Source::Debian { release, .. } => format!(
            "by hand: unpack a package linux-image-{release}*{}, and put vmlinuz, \
             modules/lib/modules/RELEASE (with depmod -b modules RELEASE), a file `release` with what \
             `uname -r` will say, and a file `version` with the package's version, into {}",
            kernel.arch.flavour(),
            kernel.folder()?.display()
        ),
    })
}

/// A release that the archive offers, and the packages that make it up.
struct Found {
    release: String,
    version: String,
    packages: Vec<Candidate>,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.release, self.version)
    }
}

/// Finds the newest release that begins with `prefix`.
///
/// Up to 6.18 linux-image-RELEASE holds everything; from 6.19 on linux-binary-RELEASE has the
/// kernel, linux-modules-RELEASE and linux-base-RELEASE the rest.
fn find(archive: &Archive, prefix: &str, flavour: &str) -> anyhow::Result<Option<Found>> {
    let names = archive.names("linux-")?;
    let whole: Vec<String> = ["linux-binary-", "linux-image-"]
        .into_iter()
        .flat_map(|kind| {
            let begin = format!("{kind}{prefix}");
            names.iter().filter(move |name| {
                // A release begins with a digit; `linux-image-cloud-amd64` names none.
                name.starts_with(&begin)
                    && name.ends_with(flavour)
                    && name[kind.len()..].starts_with(|first: char| first.is_ascii_digit())
                    && name.len() > begin.len() + flavour.len()
            })
        })
        .cloned()
        .collect();
    let candidates = archive.candidates(&whole)?;
    let real = candidates.into_iter().filter(|candidate| {
        // Names without a full release are meta-packages (linux-image-6.12-cloud-amd64).
        candidate
            .package
            .trim_end_matches(flavour)
            .matches('.')
            .count()
            >= 2
    });
    let Some(newest) = newest(real.collect())? else {
        return Ok(None);
    };
    let release = newest.package.replacen("linux-image-", "", 1);
    let release = release.replacen("linux-binary-", "", 1);
    let parts: Vec<String> = ["linux-binary-", "linux-modules-", "linux-base-"]
        .iter()
        .map(|kind| format!("{kind}{release}"))
        .filter(|name| names.contains(name))
        .collect();
    let wanted = if parts.is_empty() {
        vec![newest.package.clone()]
    } else {
        parts
    };
    let packages = archive
        .candidates(&wanted)?
        .into_iter()
        .filter(|candidate| candidate.version == newest.version)
        .collect();
    Ok(Some(Found {
        release,
        version: newest.version,
        packages,
    }))
}

fn fetch(archive: &Archive, found: &Found, kernel: &Kernel) -> anyhow::Result<()> {
    let unpacked = archive.unpack(&found.packages)?;
    let release = &found.release;
    let first = |places: [PathBuf; 2]| places.into_iter().find(|place| place.exists());
    let root = unpacked.path();
    let modules = first([
        root.join("usr/lib/modules").join(release),
        root.join("lib/modules").join(release),
    ])
    .context("the packages have no modules")?;
    let vmlinuz = first([
        root.join(format!("boot/vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ])
    .context("the packages have no vmlinuz")?;
    let staged = stage(&vmlinuz, release)?;
    let place = staged.path().join("modules/lib/modules");
    fs::create_dir_all(&place)?;
    fs::rename(&modules, place.join(release)).context("move the modules")?;
    command::output(
        Command::new(command::which("depmod").context("depmod is missing")?)
            .arg("-b")
            .arg(staged.path().join("modules"))
            .arg(release),
    )?;
    finish(staged, kernel, &found.to_string())
}

/// A new folder in the cache with the kernel and its release in it.
///
/// # Errors
///
/// When it cannot be written.
pub fn stage(vmlinuz: &Path, release: &str) -> anyhow::Result<TempDir> {
    let staged = tempfile::tempdir_in(paths::cache_folder("kernels")?)?;
    fs::copy(vmlinuz, staged.path().join("vmlinuz"))
        .with_context(|| format!("copy {}", vmlinuz.display()))?;
    fs::write(staged.path().join("release"), release)?;
    fs::create_dir_all(staged.path().join("modules"))?;
    Ok(staged)
}

/// Puts a staged kernel in its place, in one step, so that the cache never has half of one.
///
/// # Errors
///
/// When the place cannot be cleared or written.
pub fn finish(staged: TempDir, kernel: &Kernel, version: &str) -> anyhow::Result<()> {
    fs::write(staged.path().join("version"), version)?;
    let place = kernel.folder()?;
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))?;
    }
    let staged = staged.keep();
    if let Err(error) = fs::rename(&staged, &place) {
        bail!(
            "rename {} to {}: {error}",
            staged.display(),
            place.display()
        );
    }
    Ok(())
}
