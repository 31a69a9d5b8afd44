//! `vm alert`: a real Prometheus with the project's rules beside a real agent, through a reconnect
//! storm.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use super::exec::{Boot, judge, prepare};
use super::job::{Added, Job};
use super::qemu::Outcome;
use super::story::{Panel, Story};
use crate::build::Binaries;
use crate::charts::Unit;
use crate::docs;
use crate::kernels::{self, Kernel};
use crate::parse_kernel;
use crate::printed::Printed;
use crate::setup::{self, Missing, prometheus};

/// Where it runs if it can: a storm by itself damages connections there; else where the laboratory
/// changes a setting during the storm.
const KERNELS: [&str; 2] = ["5.10-affected", "newest"];

/// How long it may take: the alerts alone take more than 5 minutes of real time.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// Where Prometheus is put in the VM, and node_exporter.
const PLACE: &str = "/usr/bin/prometheus";
const NODE_PLACE: &str = "/usr/bin/prometheus-node-exporter";

/// What of the dashboard is drawn.
const DRAWN: [Panel; 4] = [
    ("Damaged connections, open", Unit::Count),
    ("Lowest throughput ceiling by port", Unit::BytesPerSecond),
    ("SYN cookies of the watched listeners", Unit::PerSecond),
    ("Handshakes by path", Unit::PerSecond),
];

/// Where, and what becomes of it.
#[derive(Args)]
pub struct Options {
    /// The kernel to boot; 5.10-affected unless told otherwise, or newest where that is not had
    #[arg(long, value_parser = parse_kernel)]
    kernel: Option<&'static Kernel>,
    /// Write what it prints into docs/alerting.md as well
    #[arg(long)]
    write: bool,
}

/// Sets up, builds, boots and shows.
///
/// # Errors
///
/// When set-up, a build or QEMU fails, or the document cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let kernel = match options.kernel {
        Some(kernel) => kernel,
        None => choose()?,
    };
    let binaries = prepare(kernel)?;
    eprintln!("alert: booting kernel {} in a VM", kernel.name);
    let printed = Printed::default();
    let story = Story::default();
    let outcome = play(kernel, &binaries, story.to(printed.clone()))?;
    let code = judge(&outcome);
    if code == ExitCode::SUCCESS {
        let picture = story.draw(&DRAWN)?;
        if options.write {
            docs::write_alerts(&printed.text(), &picture)?;
        }
    }
    Ok(code)
}

/// All alerts come and go as they should; what was seen is told on stderr.
///
/// # Errors
///
/// When they do not, or it cannot be tried.
pub fn hold(missing: &[Missing], binaries: &Binaries) -> anyhow::Result<()> {
    let story = Story::default();
    let outcome = had(missing).and_then(|kernel| play(kernel, binaries, story.to(io::stderr())))?;
    ensure!(judge(&outcome) == ExitCode::SUCCESS, "they do not hold");
    story.draw(&DRAWN).map(drop)
}

/// The kernel for storms where none is asked for, set up.
///
/// # Errors
///
/// When none can be had.
pub fn choose() -> anyhow::Result<&'static Kernel> {
    had(&setup::ensure(&wanted(), false)?)
}

fn wanted() -> Vec<&'static Kernel> {
    KERNELS.into_iter().filter_map(kernels::find).collect()
}

/// The first of the kernels for storms that is not missing.
///
/// # Errors
///
/// When all of them are.
pub fn had(missing: &[Missing]) -> anyhow::Result<&'static Kernel> {
    let is_missing = |kernel| missing.iter().any(|missing| missing.kernel == kernel);
    let mut had = wanted().into_iter().filter(|kernel| !is_missing(*kernel));
    had.next()
        .with_context(|| format!("none of the kernels {} can be had", KERNELS.join(", ")))
}

fn play(
    kernel: &'static Kernel,
    binaries: &Binaries,
    stdout: impl Write + Send + 'static,
) -> anyhow::Result<Outcome> {
    let server = prometheus::ensure().context("Prometheus cannot be had")?;
    let node_exporter = prometheus::node_exporter().context("node_exporter cannot be had")?;
    let added = [(server.server, PLACE), (node_exporter, NODE_PLACE)].map(|(from, path)| Added {
        from,
        path: path.into(),
    });
    let boot = Boot {
        kernel,
        binaries,
        added: &added,
        timeout: TIMEOUT,
        parameters: "",
    };
    boot.run(&Job::new(&["tcpwnd-lab", "alert"]), stdout, io::stderr())
}

#[cfg(test)]
mod tests {
    use super::{KERNELS, had, wanted};
    use crate::setup::Missing;

    #[test]
    fn another_kernel_stands_in_for_the_affected_one() {
        assert_eq!(wanted().len(), KERNELS.len());
        assert_eq!(had(&[]).unwrap().name, KERNELS[0]);
        let missing = |index: usize| Missing {
            kernel: wanted()[index],
            reason: String::new(),
        };
        assert_eq!(had(&[missing(0)]).unwrap().name, KERNELS[1]);
        assert!(had(&[missing(0), missing(1)]).is_err());
    }
}
