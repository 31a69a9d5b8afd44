//! `bench`: what the agent costs, beside what it may cost, measured and written into docs/overhead.md.
//!
//! Constraint: nothing fails because it is slow. What fails is what could not be measured.

mod figures;
mod machine;
mod native;
mod reference;
mod summary;
mod table;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::build::{self, Binaries};
use crate::docs;
use crate::kernels::Kernel;
use crate::parse_kernel;
use crate::paths;
use crate::vm::exec::{Boot, Outcome, prepare};
use crate::vm::job::Job;
use crate::vm::lines::Lines;
use figures::Figures;

/// What a VM may take.
const TIMEOUT: Duration = Duration::from_secs(900);

/// What bpftrace is measured in, too, as the laboratory calls it.
const WITH_BPFTRACE: [&str; 2] = ["handshakes", "start"];

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Instructions of passive handshakes, by mechanism and program, beside those of the same in C
    Handshakes,
    /// Instructions of hooks whose programs do nothing
    Mechanisms,
    /// Instructions of data with nothing to watch, and with one connection of 1,000 under watch
    Transfers,
    /// Instructions of segments to half-closed connections
    HalfClosed,
    /// Time from start to ready, and its steps
    Start,
    /// 18,000 clients that come back all at once
    Storm,
    /// Resident memory, and the memory of the maps
    Memory,
    /// Events a second on this machine, how long one waits, and the table of open connections
    Native,
    /// Size of the shipped program
    Size,
}

/// Where, and what becomes of it.
#[derive(Args)]
pub struct Options {
    /// The kernel to measure on
    #[arg(long, value_parser = parse_kernel, default_value = "6.12")]
    kernel: &'static Kernel,
    /// Measure and print only this (repeatable), and leave docs/overhead.md as it is
    #[arg(long = "part", value_enum)]
    parts: Vec<Part>,
    /// Write docs/overhead.md all the same, with the other parts as they were last measured here
    #[arg(long, requires = "parts")]
    update: bool,
    /// Measure nothing: record anew what the native part and `cargo bench` work with
    #[arg(long, conflicts_with = "parts")]
    record: bool,
}

/// Measures everything, prints it, and writes it into the document.
///
/// # Errors
///
/// When set-up, a build or QEMU fails, when a part could not be measured, or the document cannot be
/// written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let begin = Instant::now();
    ensure!(
        options.kernel.arch == Arch::X86_64,
        "{} is no kernel to measure on: what is shipped is built for x86_64",
        options.kernel.name
    );
    // As it is shipped; the laboratory is as always.
    let built = prepare(options.kernel)?;
    let binaries = Binaries {
        agent: build::dist()?,
        ..built
    };
    if options.record {
        let lines = in_a_vm(options.kernel, &binaries, "records", counting)?;
        native::keep_records(&Figures::read(&lines)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let all = Part::value_variants();
    let parts = match options.parts.as_slice() {
        [] => all,
        some => some,
    };
    for part in parts {
        let kept = Kept {
            kernel: options.kernel.name.to_owned(),
            made: binaries.made.clone(),
            lines: part.measure(options.kernel, &binaries)?,
        };
        kept.write(*part)?;
    }
    let writes = options.parts.is_empty() || options.update;
    let shown = if writes { all } else { parts };
    let kept = shown
        .iter()
        .map(|part| Kept::read(*part, options.kernel))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let lines: String = kept.iter().map(|kept| kept.lines.as_str()).collect();
    let machine = machine::describe(options.kernel)?;
    let when = when(shown.iter().zip(&kept));
    let text = format!(
        "{machine} {when}\n\n{}",
        table::write(&Figures::read(&lines)?)
    );
    println!("{text}");
    if writes {
        docs::write_overhead(&text)?;
    }
    eprintln!("took {} s", begin.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}

impl Part {
    /// Measures it; each line is a figure.
    fn measure(self, kernel: &'static Kernel, binaries: &Binaries) -> anyhow::Result<String> {
        match self {
            Self::Size => native::size(&binaries.agent),
            Self::Native => native::load(),
            // Nothing of it is counted, and two processors make more of a storm.
            Self::Storm => in_a_vm(kernel, binaries, &self.name(), ordinary),
            _ => in_a_vm(kernel, binaries, &self.name(), counting),
        }
    }

    /// Its name here, and to the laboratory.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Where its figures are kept.
    fn place(self) -> anyhow::Result<PathBuf> {
        let folder = paths::target().join("bench");
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder.join(format!("{}.json", self.name())))
    }
}

/// What was measured of a part.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The name of the kernel that it was measured on.
    kernel: String,
    /// When what was measured was built, and from which commit.
    made: String,
    /// Its figures, one a line.
    lines: String,
}

impl Kept {
    fn write(&self, part: Part) -> anyhow::Result<()> {
        let place = part.place()?;
        let text = serde_json::to_string(self)?;
        fs::write(&place, text).with_context(|| format!("write {}", place.display()))
    }

    fn read(part: Part, kernel: &Kernel) -> anyhow::Result<Self> {
        let name = part.name();
        let text = fs::read_to_string(part.place()?);
        let text = text.with_context(|| format!("{name} was never measured here"))?;
        let again = || format!("{name} is to be measured again: --part {name}");
        let kept: Self = serde_json::from_str(&text).with_context(again)?;
        ensure!(
            kept.kernel == kernel.name,
            "{}; it was measured on {}",
            again(),
            kept.kernel
        );
        Ok(kept)
    }
}

/// When the parts were measured, those of one build together.
fn when<'a>(parts: impl Iterator<Item = (&'a Part, &'a Kept)>) -> String {
    let mut of_builds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (part, kept) in parts {
        of_builds.entry(&kept.made).or_default().push(part.name());
    }
    let only_one = of_builds.len() == 1;
    let words = of_builds.into_iter().map(|(made, parts)| match only_one {
        true => format!("Measured {made}."),
        false => format!("Measured {made}: {}.", parts.join(", ")),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Where a nanosecond is an instruction.
fn counting(boot: &Boot<'_>, job: &Job, lines: Told) -> anyhow::Result<Outcome> {
    boot.run_counting(job, lines, io::stderr())
}

/// Where it is as always.
fn ordinary(boot: &Boot<'_>, job: &Job, lines: Told) -> anyhow::Result<Outcome> {
    boot.run(job, lines, io::stderr())
}

/// Takes what the laboratory measured.
type Told = Box<dyn io::Write + Send>;

/// What the laboratory measures in a VM.
fn in_a_vm(
    kernel: &'static Kernel,
    binaries: &Binaries,
    part: &str,
    run: impl FnOnce(&Boot<'_>, &Job, Told) -> anyhow::Result<Outcome>,
) -> anyhow::Result<String> {
    let added = reference::added(WITH_BPFTRACE.contains(&part))?;
    eprintln!("bench: {part}, in a VM with kernel {}", kernel.name);
    let boot = Boot {
        kernel,
        binaries,
        added: &added,
        parameters: "",
        timeout: TIMEOUT,
    };
    let job = Job::new(&["tcpwnd-lab", "cost", part]);
    let (sender, receiver) = mpsc::channel();
    let told = Lines::new(move |line: &str| {
        eprintln!("{line}");
        // The receiver lives until all has come.
        let _ = sender.send(format!("{line}\n"));
    });
    let outcome = run(&boot, &job, Box::new(told))?;
    match (&outcome.code, outcome.trouble()) {
        (Ok(0), None) => Ok(receiver.try_iter().collect()),
        (code, trouble) => bail!(
            "the laboratory did not measure it: {}\n{}",
            trouble.unwrap_or_else(|| format!("it ended with {code:?}")),
            outcome.log.trim_end()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, Part, when};

    #[test]
    fn parts_of_several_builds_are_told_apart() {
        let kept = |made: &str| Kept {
            kernel: "6.12".to_owned(),
            made: made.to_owned(),
            lines: String::new(),
        };
        let (old, new) = (kept("on 1 at commit a"), kept("on 2 at commit b"));
        let parts = [(&Part::Start, &new), (&Part::HalfClosed, &new)];
        assert_eq!(when(parts.into_iter()), "Measured on 2 at commit b.");
        let with_old = parts.into_iter().chain([(&Part::Size, &old)]);
        let expected =
            "Measured on 1 at commit a: size. Measured on 2 at commit b: start, half-closed.";
        assert_eq!(when(with_old), expected);
    }
}
