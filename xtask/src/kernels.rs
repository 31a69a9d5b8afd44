//! The one table of kernels that tests run on, and what the cache has of each.
//!
//! Names are stable, versions are not: Debian keeps only the newest builds of a suite, so the
//! version is resolved when a kernel is fetched and recorded beside it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};

use crate::arch::Arch;
use crate::paths;
use crate::setup::source::Recipe;

/// A kernel of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What it is called on the command line and in results.
    pub name: &'static str,
    /// What it runs on.
    pub arch: Arch,
    /// Where it comes from.
    pub source: Source,
}

/// Where a kernel comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// Debian's 5.10 with the fix of 2020 taken out again: beside the checkout, or built.
    Affected,
    /// Built from Debian's source.
    Built(Recipe),
    /// A package from Debian's archive.
    Debian {
        /// The suites in which it may be.
        suites: &'static [&'static str],
        /// How its release (`uname -r`) begins; empty: whatever is newest.
        release: &'static str,
    },
}

/// The kernels that everything is tested on, oldest first.
pub const TABLE: &[Kernel] = &[
    Kernel {
        name: "5.10-affected",
        arch: Arch::X86_64,
        source: Source::Affected,
    },
    debian("5.10", &["bullseye", "bullseye-security"], "5.10."),
    debian("6.1", &["bookworm", "bookworm-security"], "6.1."),
    debian("6.12", &["trixie", "trixie-security"], "6.12."),
    debian("6.18", &["trixie-backports"], "6.18."),
    debian("newest", &["trixie-backports"], ""),
];

/// Kernels on which nothing can run, to see what is said there: no other test is for them.
pub const WITHOUT: &[Kernel] = &[
    without(
        "without-bpf",
        &[
            "kernels/without/common.config",
            "kernels/without/bpf.config",
        ],
    ),
    without(
        "without-tracing",
        &[
            "kernels/without/common.config",
            "kernels/without/tracing.config",
        ],
    ),
];

/// Kernels of other architectures, for VMs of whoever names them.
pub const FOREIGN: &[Kernel] = &[Kernel {
    arch: Arch::Aarch64,
    ..debian("6.12-arm64", &["trixie", "trixie-security"], "6.12.")
}];

const fn without(name: &'static str, fragments: &'static [&'static str]) -> Kernel {
    let source = Source::Built(Recipe {
        package: "linux-source-6.12",
        suites: &["trixie", "trixie-security"],
        patch: None,
        fragments,
        minutes: 6,
    });
    Kernel {
        name,
        arch: Arch::X86_64,
        source,
    }
}

const fn debian(
    name: &'static str,
    suites: &'static [&'static str],
    release: &'static str,
) -> Kernel {
    Kernel {
        name,
        arch: Arch::X86_64,
        source: Source::Debian { suites, release },
    }
}

/// A kernel in the cache.
#[derive(Debug, Clone)]
pub struct Image {
    /// What it runs on.
    pub arch: Arch,
    /// What QEMU boots.
    pub vmlinuz: PathBuf,
    /// The folder that holds `lib/modules/RELEASE`; empty for a kernel without modules.
    pub modules: PathBuf,
    /// What `uname -r` will say.
    pub release: String,
    /// The package's version, or where the kernel came from.
    pub version: String,
}

/// Looks a kernel up by name.
pub fn find(name: &str) -> Option<&'static Kernel> {
    every().find(|kernel| kernel.name == name)
}

/// All of them, those of the table first.
pub fn every() -> impl Iterator<Item = &'static Kernel> {
    TABLE.iter().chain(WITHOUT).chain(FOREIGN)
}

/// The place of a kernel among all.
pub fn place(name: &str) -> Option<usize> {
    every().position(|kernel| kernel.name == name)
}

/// Why answers of another architecture are printed alone.
pub const NOT_WRITTEN: &str = "the tables are of x86_64: without --write";

/// The architecture of all these kernels.
///
/// # Errors
///
/// When they are of several: each wants programs of its own.
pub fn arch_of(kernels: &[&Kernel]) -> anyhow::Result<Arch> {
    let arch = kernels.first().map_or(Arch::X86_64, |first| first.arch);
    ensure!(
        kernels.iter().all(|kernel| kernel.arch == arch),
        "these kernels are of several architectures: name those of one"
    );
    Ok(arch)
}

impl Kernel {
    /// Its folder in the cache, which may not exist yet.
    ///
    /// # Errors
    ///
    /// When there is no place for a cache.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        Ok(paths::cache()?.join("kernels").join(self.name))
    }

    /// What the cache has of it; the version file is written last and says that it is complete.
    ///
    /// # Errors
    ///
    /// When there is no place for a cache, or its files cannot be read.
    pub fn cached(&self) -> anyhow::Result<Option<Image>> {
        let folder = self.folder()?;
        if !folder.join("version").is_file() {
            return Ok(None);
        }
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .map(|text| text.trim().to_owned())
                .with_context(|| format!("read {}", path.display()))
        };
        Ok(Some(Image {
            arch: self.arch,
            release: read("release")?,
            version: read("version")?,
            vmlinuz: folder.join("vmlinuz"),
            modules: folder.join("modules"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{FOREIGN, TABLE, arch_of};
    use crate::arch::Arch;

    #[test]
    fn kernels_of_two_architectures_are_refused() {
        assert_eq!(arch_of(&[&TABLE[0], &TABLE[1]]).unwrap(), Arch::X86_64);
        assert_eq!(arch_of(&[&FOREIGN[0]]).unwrap(), Arch::Aarch64);
        assert!(arch_of(&[&TABLE[0], &FOREIGN[0]]).is_err());
    }
}
