//! What is under deploy/, shown to the programs that read it where tcpwnd is put to use.
//!
//! Constraint: a check that cannot be made says so and counts as skipped; it never just passes.

mod copyright;
mod grafana;
mod image;
mod kubernetes;
mod metrics;
pub mod mutate;
mod packages;
mod playbook;
mod pod;
mod prometheus;
mod rolling_restart;
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;

use crate::build;
use crate::paths;
use crate::release::{Release, install};
use crate::vm::results::Tally;

/// What can be done with the files under deploy/.
#[derive(Subcommand)]
pub enum Task {
    /// Show each file to the program that it is written for
    Check {
        /// Only checks with this in their name
        #[arg(value_name = "WORDS")]
        only: Option<String>,
        /// No more checks once one has failed
        #[arg(long)]
        until_failed: bool,
    },
    /// Cut off one file at a time, in a copy, and see that a check notices, or the installation (as root)
    Mutate,
    /// Install, upgrade and remove the packages in a clean Debian, without systemd (as root)
    Install,
    /// Write the Kubernetes manifest anew from the Helm chart
    Render,
}

/// How a check came out, when nothing was wrong.
enum Answer {
    /// It held.
    Held,
    /// It could not be made here, and why.
    Skipped(String),
}

struct Check {
    name: &'static str,
    run: fn() -> anyhow::Result<Answer>,
}

const CHECKS: &[Check] = &[
    Check {
        name: "systemd unit",
        run: systemd::unit,
    },
    Check {
        name: "systemd unit with the drop-in for old kernels",
        run: systemd::with_drop_in,
    },
    Check {
        name: "Prometheus' rules",
        run: prometheus::rules,
    },
    Check {
        name: "Prometheus' rules on made-up series",
        run: prometheus::tests,
    },
    Check {
        name: "queries of Grafana's dashboard",
        run: grafana::queries,
    },
    Check {
        name: "Helm chart with nothing said",
        run: kubernetes::defaults,
    },
    Check {
        name: "Helm chart with everything said",
        run: kubernetes::all_options,
    },
    Check {
        name: "Helm chart with misspelt options",
        run: kubernetes::misspelt,
    },
    Check {
        name: "Kubernetes manifest",
        run: kubernetes::manifest,
    },
    Check {
        name: "scripts for rolling restarts, read by shellcheck",
        run: rolling_restart::shell,
    },
    Check {
        name: "playbook for rolling restarts, played by Ansible",
        run: playbook::playbook,
    },
    Check {
        name: "script for Strimzi with a kubectl that answers what is written here",
        run: rolling_restart::strimzi,
    },
    Check {
        name: "container image by itself",
        run: image::alone,
    },
    Check {
        name: "container image in the pod",
        run: image::in_pod,
    },
    Check {
        name: "systemd unit's command line",
        run: systemd::command_line,
    },
    Check {
        name: "options of the service in the packages",
        run: packages::options,
    },
    Check {
        name: "copyright of the package for Debian",
        run: copyright::copyright,
    },
    Check {
        name: "what is in the package for Debian",
        run: packages::deb,
    },
    Check {
        name: "package for Debian, read by lintian",
        run: packages::lintian,
    },
    Check {
        name: "what is in the package for rpm",
        run: packages::rpm,
    },
    Check {
        name: "scripts of both packages, read by shellcheck",
        run: packages::scripts,
    },
    Check {
        name: "packages built again are the same",
        run: packages::again,
    },
];

/// Does what was asked.
///
/// # Errors
///
/// When the manifest cannot be written, there is no such check, or a package does not hold.
pub fn run(task: &Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Check { only, until_failed } => {
            let tally = check(only.as_deref().unwrap_or_default(), *until_failed);
            if tally.passed + tally.failed + tally.skipped == 0 {
                bail!("no check has that in its name");
            }
            println!("{tally}");
            Ok(code(tally))
        }
        Task::Mutate => {
            let tally = mutate::run()?;
            println!("{tally}");
            Ok(code(tally))
        }
        Task::Install => {
            let release = Release::of(&build::run()?.agent)?;
            print!("{}", install::in_root(release)?);
            Ok(ExitCode::SUCCESS)
        }
        Task::Render => kubernetes::write_manifest().map(|()| ExitCode::SUCCESS),
    }
}

fn code(tally: Tally) -> ExitCode {
    match tally.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Makes every check with these words in its name, and says how each came out; the others after one
/// that failed only if asked to go on.
pub fn check(only: &str, until_failed: bool) -> Tally {
    let mut tally = Tally::default();
    for Check { name, run } in CHECKS.iter().filter(|check| check.name.contains(only)) {
        match run() {
            Ok(Answer::Held) => {
                eprintln!("ok: {name}");
                tally.passed += 1;
            }
            Ok(Answer::Skipped(reason)) => {
                eprintln!("SKIPPED: {name}: {reason}");
                tally.skipped += 1;
            }
            Err(error) => {
                eprintln!("FAILED: {name}: {error:#}");
                tally.failed += 1;
            }
        }
        if until_failed && tally.failed > 0 {
            break;
        }
    }
    tally
}

/// Every file in a folder and those below it, in order.
///
/// # Errors
///
/// When a folder cannot be read.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// A file or folder under deploy/.
fn file(name: &str) -> PathBuf {
    paths::workspace().join("deploy").join(name)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{file, files};

    /// What the checks and unit tests here read; a chart and its templates are rendered as one.
    const READ: [&str; 14] = [
        "container/Containerfile",
        "deb/",
        "grafana/tcpwnd.json",
        "helm/tcpwnd/",
        "kubernetes/tcpwnd.yaml",
        "prometheus/tcpwnd.rules.yml",
        "prometheus/tcpwnd.test.yml",
        "rolling-restart/ansible.yml",
        "rolling-restart/rolling-restart.sh",
        "rolling-restart/strimzi.sh",
        "rpm/tcpwnd.spec",
        "systemd/old-kernels.conf",
        "systemd/tcpwnd.default",
        "systemd/tcpwnd.service",
    ];

    #[test]
    fn nothing_lies_here_that_no_check_reads() {
        let relative = |path: PathBuf| path.strip_prefix(file("")).unwrap().display().to_string();
        let files: Vec<_> = files(&file(""))
            .unwrap()
            .into_iter()
            .map(relative)
            .collect();
        for name in &files {
            assert!(READ.iter().any(|read| name.starts_with(read)), "{name}");
        }
        for read in READ {
            assert!(files.iter().any(|name| name.starts_with(read)), "{read}");
        }
    }
}
