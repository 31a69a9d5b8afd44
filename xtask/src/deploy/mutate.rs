//! Shows that the checks can fail: of each file under deploy/ the second half is cut off, in a copy
//! of the sources, and a check must notice, or the installation in a clean Debian (as root).

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::mutate;
use crate::vm::results::Tally;

/// How a check that does not hold begins what it says.
const FAILED: &str = "FAILED: ";

/// Cuts off one file after the other, and says which check noticed; a file of which none did is counted
/// as failed.
///
/// # Errors
///
/// When the copy cannot be made, a check fails without anything being cut off, or none can be run.
pub fn run() -> anyhow::Result<Tally> {
    let tree = mutate::copy()?;
    let sound = noticed(&tree)?;
    ensure!(sound.is_none(), "before anything is cut off: {sound:?}");
    let mut tally = Tally::default();
    for path in super::files(&tree.join("deploy"))? {
        let name = path.strip_prefix(&tree).unwrap_or(&path).display();
        let whole = fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
        fs::write(&path, half(&whole))?;
        let answer = noticed(&tree);
        fs::write(&path, whole)?;
        let check = answer.with_context(|| format!("{name} cut off"))?;
        match &check {
            Some(said) => eprintln!("noticed: {name}: {said}"),
            None => eprintln!("NOT NOTICED: {name}, cut off"),
        }
        tally.count(check.is_some());
    }
    Ok(tally)
}

/// A check notices each file that is cut off.
///
/// # Errors
///
/// As [`run`], and when none notices one.
pub fn hold() -> anyhow::Result<()> {
    let tally = run()?;
    ensure!(tally.is_good(), "{tally}");
    Ok(())
}

/// The first half of the lines; a file of one line has none.
fn half(text: &str) -> String {
    let lines = text.lines().count() / 2;
    text.split_inclusive('\n').take(lines).collect()
}

/// What the first check says that does not hold for the files of this tree.
fn noticed(tree: &Path) -> anyhow::Result<Option<String>> {
    for task in [["check", "--until-failed"].as_slice(), &["install"]] {
        let run = Command::new(env::current_exe().context("find this program")?)
            .arg("deploy")
            .args(task)
            // See paths::workspace().
            .env("CARGO_MANIFEST_DIR", tree.join("xtask"))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run deploy {}", task[0]))?;
        let said = String::from_utf8_lossy(&run.stderr);
        let failed = said.lines().find_map(|line| line.strip_prefix(FAILED));
        match (run.status.success(), failed) {
            (true, _) => {}
            (false, Some(failed)) => return Ok(Some(failed.to_owned())),
            (false, None) => bail!("deploy {} ended with {}: {said}", task[0], run.status),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn half_a_file_is_its_first_lines() {
        assert_eq!(half("a\nb\nc\nd\n"), "a\nb\n");
        assert_eq!(half("a\nb\nc"), "a\n");
        assert_eq!(half("a\n"), "");
    }
}
