//! Shows that the matrix can fail: breaks one thing at a time in a copy of the sources and runs
//! the scenarios that must notice.
//!
//! A mutant that every scenario lets pass is a hole in the tests, and fails the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::build::cargo;
use crate::command;
use crate::paths;
use crate::vm::results::Tally;

/// Which mutants.
#[derive(Args)]
pub struct Options {
    /// Only this mutant (repeatable; all if not given)
    #[arg(long = "mutant", value_name = "NAME")]
    mutants: Vec<String>,
    /// Kernel to run them on
    #[arg(long, default_value = "5.10-affected")]
    kernel: String,
}

/// One thing done wrong.
struct Mutant {
    name: &'static str,
    file: &'static str,
    /// Must stand in the file exactly once.
    right: &'static str,
    wrong: &'static str,
    /// Scenarios of which at least one must fail.
    scenarios: &'static [&'static str],
}

const MUTANTS: [Mutant; 5] = [
    Mutant {
        name: "advertised and used swapped",
        file: "tcpwnd-core/src/detect/window_scale/verdict.rs",
        right: "announced: told.advertised,\n            used: used.receive,\n            shrink_log2: log2_ratio(used.receive, told.advertised),",
        wrong: "announced: used.receive,\n            used: told.advertised,\n            shrink_log2: log2_ratio(told.advertised, used.receive),",
        scenarios: &["cookies", "rcvbuf_raised"],
    },
    Mutant {
        name: "cookie flag inverted",
        file: "tcpwnd-ebpf/src/probes/make_synack.rs",
        right: "Ok(call.kind == SYNACK_COOKIE || call.req.low(Field::ReqSyncookie)? != 0)",
        wrong: "Ok(!(call.kind == SYNACK_COOKIE || call.req.low(Field::ReqSyncookie)? != 0))",
        scenarios: &["ordinary"],
    },
    Mutant {
        name: "neighbouring bit field read",
        file: "tcpwnd-common/src/fields.rs",
        right: "RcvWscale = \"tcp_sock.rx_opt.rcv_wscale\",",
        wrong: "RcvWscale = \"tcp_sock.rx_opt.snd_wscale\",",
        scenarios: &["ordinary", "cookies"],
    },
    Mutant {
        name: "sequence number not compared",
        file: "tcpwnd-core/src/detect/window_scale/paired.rs",
        right: "    if record.child.snd_una == first {\n        return true;\n    }",
        wrong: "    if record.child.snd_una == first || first != 1 {\n        return true;\n    }",
        scenarios: &["older_cookie"],
    },
    Mutant {
        name: "missing evidence called ok",
        file: "tcpwnd-core/src/detect/window_scale/verdict.rs",
        right: "        Err(cause) => Judgement {\n            verdict: Verdict::Unverified(cause),",
        wrong: "        Err(cause) => Judgement {\n            verdict: { let _ = cause; Verdict::Ok },",
        scenarios: &["started_late"],
    },
];

/// Runs the mutants, one after the other.
///
/// # Errors
///
/// When the copy cannot be made, a mutant does not fit the sources any more or does not build.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let wanted = |mutant: &&Mutant| {
        options.mutants.is_empty() || options.mutants.iter().any(|name| name == mutant.name)
    };
    let tree = copy()?;
    let mut tally = Tally::default();
    for mutant in MUTANTS.iter().filter(wanted) {
        let caught = try_out(mutant, &tree, &options.kernel)
            .with_context(|| format!("mutant \"{}\"", mutant.name))?;
        let word = if caught { "caught" } else { "NOT CAUGHT" };
        println!(
            "{word}: {} (by {})",
            mutant.name,
            mutant.scenarios.join(", ")
        );
        tally.count(caught);
    }
    ensure!(tally.passed + tally.failed > 0, "no such mutant");
    println!("{tally}");
    Ok(if tally.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A copy of the committed and uncommitted sources, with a build folder that stays.
///
/// # Errors
///
/// When git cannot name them, or the copy cannot be written.
pub fn copy() -> anyhow::Result<PathBuf> {
    let tree = paths::target().join("mutants").join("tree");
    fs::create_dir_all(&tree).with_context(|| format!("make {}", tree.display()))?;
    let files = command::output(Command::new("git").current_dir(paths::workspace()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for file in files.lines() {
        let (from, to) = (paths::workspace().join(file), tree.join(file));
        // A file that was deleted and not yet committed is still listed.
        if let Ok(bytes) = fs::read(&from) {
            write_if_changed(&to, &bytes)?;
            let mode = fs::metadata(&from)?.permissions();
            fs::set_permissions(&to, mode).with_context(|| format!("set modes of {file}"))?;
        }
    }
    Ok(tree)
}

/// Leaves the time of an unchanged file alone, so that it is not built again.
fn write_if_changed(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

/// Whether a scenario fails with the mutant; the file is as before afterwards.
fn try_out(mutant: &Mutant, tree: &Path, kernel: &str) -> anyhow::Result<bool> {
    let path = tree.join(mutant.file);
    let right = fs::read_to_string(&path).with_context(|| format!("read {}", mutant.file))?;
    ensure!(
        right.matches(mutant.right).count() == 1,
        "what it replaces does not stand in {} exactly once: bring xtask/src/mutate.rs up to date",
        mutant.file
    );
    fs::write(&path, right.replace(mutant.right, mutant.wrong))?;
    let answer = scenarios_fail(mutant, tree, kernel);
    fs::write(&path, right)?;
    answer
}

fn scenarios_fail(mutant: &Mutant, tree: &Path, kernel: &str) -> anyhow::Result<bool> {
    let xtask = |arguments: &[&str]| {
        let mut run = cargo(tree);
        run.args(["run", "--quiet", "--package", "xtask", "--"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(std::io::stderr());
        run
    };
    command::run(&mut xtask(&["build"])).context("does not build")?;
    let answers = tree.join("target").join("answers.json");
    let answers_name = answers.display().to_string();
    let mut arguments = vec!["vm", "test", "--kernel", kernel, "--json", &answers_name];
    for scenario in mutant.scenarios {
        arguments.extend(["--scenario", scenario]);
    }
    match xtask(&arguments).status()?.code() {
        Some(0) => Ok(false),
        Some(1) => a_scenario_failed(mutant, &answers),
        code => bail!("vm test could not run (exit code {code:?})"),
    }
}

/// Whether it was a scenario of the mutant that failed: a VM that does not start proves nothing.
fn a_scenario_failed(mutant: &Mutant, answers: &Path) -> anyhow::Result<bool> {
    let text = fs::read_to_string(answers).context("read the answers")?;
    let answers: serde_json::Value = serde_json::from_str(&text)?;
    let rows = answers["rows"].as_array().context("answers without rows")?;
    let failed = rows.iter().any(|row| {
        row["outcome"] == "failed"
            && mutant
                .scenarios
                .iter()
                .any(|scenario| row["scenario"] == *scenario)
    });
    ensure!(failed, "the VM failed, not a scenario");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::MUTANTS;
    use crate::paths;

    #[test]
    fn each_mutant_fits_the_sources() {
        for mutant in &MUTANTS {
            let text = std::fs::read_to_string(paths::workspace().join(mutant.file)).unwrap();
            let places = text.matches(mutant.right).count();
            assert_eq!(places, 1, "\"{}\" in {}", mutant.name, mutant.file);
        }
    }
}
