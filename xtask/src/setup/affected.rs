//! The kernel with the bug of 2020: Debian's 5.10 with its fix taken out again.
//!
//! A copy beside the checkout is used where it lies there; everybody else builds it.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::kernels::{finish, stage};
use super::source::{self, Recipe};
use crate::kernels::{self, Kernel};
use crate::paths;

/// How it is built.
const RECIPE: Recipe = Recipe {
    package: "linux-source-5.10",
    suites: &["bullseye", "bullseye-security"],
    patch: Some("kernels/affected/without-909172a.patch"),
    fragments: &["kernels/affected/config.fragment"],
    minutes: 15,
};

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

/// Builds it into the cache.
///
/// # Errors
///
/// As [`source::build`].
pub fn build() -> anyhow::Result<()> {
    let kernel = kernels::find("5.10-affected").context("the table has no affected kernel")?;
    source::build(kernel, &RECIPE)
}
