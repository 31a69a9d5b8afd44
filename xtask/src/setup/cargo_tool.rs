//! Programs that cargo installs from their source, into the cache. Only making releases wants them,
//! so that set-up leaves them out.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::build::cargo;
use crate::command;
use crate::paths;

/// A subcommand of cargo.
pub struct Tool {
    /// The crate and the program.
    name: &'static str,
    version: &'static str,
}

/// Lists what a program was made of.
pub const CYCLONEDX: Tool = Tool {
    name: "cargo-cyclonedx",
    version: "0.5.9",
};

/// Judges dependencies by deny.toml.
pub const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};

impl Tool {
    /// The program, built if the cache does not have it.
    ///
    /// # Errors
    ///
    /// When cargo fails.
    pub fn ensure(&self) -> anyhow::Result<PathBuf> {
        let Self { name, version } = self;
        let cache = paths::cache_folder("")?;
        let program = cache.join("bin").join(name);
        let _lock = super::lock()?;
        if program.is_file() && self.is_of_version(&program) {
            return Ok(program);
        }
        eprintln!("setup: building {name} {version} (some minutes)");
        // Optimising it would take longer than it will ever save.
        let install = ["install", "--quiet", "--locked", "--debug", "--force"];
        command::run(cargo(&cache).args(install).arg("--root").arg(&cache).args([
            name,
            "--version",
            version,
        ]))
        .with_context(|| {
            format!("{name} is missing; by hand: cargo install --locked {name} --version {version}")
        })?;
        Ok(program)
    }

    fn is_of_version(&self, program: &PathBuf) -> bool {
        // `cargo-deny 0.20.2`, `cargo-cyclonedx-cyclonedx 0.5.9`.
        let subcommand = self.name.trim_start_matches("cargo-");
        let mut tool = Command::new(program);
        let printed = command::output(tool.args([subcommand, "--version"])).unwrap_or_default();
        printed.split_whitespace().last() == Some(self.version)
    }
}
