//! What others get: packages for Debian and for distributions with rpm, and what a release is.
//!
//! Constraint: the same commit gives the same bytes. Times are those of the commit
//! (SOURCE_DATE_EPOCH), owners are root, lists are sorted.

pub mod deb;
pub mod dist;
pub mod install;
pub mod layout;
pub mod rpm;
mod sbom;
mod third_party;
mod tree;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Args;

use crate::build;
use crate::command;
use crate::paths;

/// The variable that the world's packaging tools take their times from.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Where packages are put unless told otherwise.
pub const PLACE: &str = "package";

/// Who answers for the packages, unless whoever builds them names somebody.
const MAINTAINER: &str = "The tcpwnd authors <tcpwnd@localhost>";

/// What packages may be told.
#[derive(Args)]
pub struct Options {
    /// Put them here instead of target/package
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Pack this static agent instead of building one
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Who answers for them
    #[arg(long, value_name = "NAME <ADDRESS>", default_value = MAINTAINER)]
    maintainer: String,
}

/// What is packed, and how it is called.
pub struct Release {
    /// The workspace's version.
    pub version: String,
    /// Counts packages of one version, from 1.
    pub package_revision: u32,
    /// Seconds since 1970, the time of everything.
    pub epoch: u64,
    /// Name and address.
    pub maintainer: String,
    /// The static agent.
    pub agent: PathBuf,
}

impl Release {
    /// This checkout's version with an agent that was built from it.
    ///
    /// # Errors
    ///
    /// When there is no time for it.
    pub fn of(agent: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            package_revision: 1,
            epoch: epoch()?,
            maintainer: MAINTAINER.to_owned(),
            agent: agent.to_owned(),
        })
    }

    /// A program that takes its times from this release, and nothing from the user's language.
    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env(EPOCH, self.epoch.to_string())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        command
    }
}

/// Builds the agent, and both packages.
///
/// # Errors
///
/// When a build fails, or a tool is missing.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let agent = match &options.agent {
        Some(agent) => agent.canonicalize().context("find the agent")?,
        None => build::run()?.agent,
    };
    let release = Release {
        maintainer: options.maintainer.clone(),
        ..Release::of(&agent)?
    };
    let default = || paths::target().join(PLACE);
    let place = options.to.clone().unwrap_or_else(default);
    fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
    for package in packages(&release, &place)? {
        println!("{}", package.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes both packages in `place`.
///
/// # Errors
///
/// When one of them cannot be made.
pub fn packages(release: &Release, place: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let deb = deb::make(release, place).context("make the package for Debian")?;
    let rpm = rpm::make(release, place).context("make the package for rpm")?;
    Ok([deb, rpm])
}

/// The time of everything that is made: what the user says, else when the commit was made.
fn epoch() -> anyhow::Result<u64> {
    let text = match env::var(EPOCH) {
        Ok(text) => text,
        Err(_) => command::output(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(paths::workspace()),
        )
        .with_context(|| format!("no commit to take the time from; set {EPOCH}"))?,
    };
    let epoch = text.trim().parse();
    let epoch = epoch.with_context(|| format!("{EPOCH} is {text:?}, no number of seconds"))?;
    // Times before that are what archives and file systems make of "no time".
    ensure!(epoch > 0, "{EPOCH} is 0");
    Ok(epoch)
}
