//! Parts of the documents that are made by running things.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::command;
use crate::paths;
use crate::vm::causes_table::CausesTable;
use crate::vm::results::Tally;

/// A part of a document that a command writes, between two lines that are comments.
struct Part {
    file: &'static str,
    begin: &'static str,
    end: &'static str,
}

const MATRIX: Part = Part {
    file: "docs/kernels.md",
    begin: "<!-- matrix: written by the command that it names -->",
    end: "<!-- end of matrix -->",
};

const VERIFIER: Part = Part {
    file: "docs/kernels.md",
    begin: "<!-- verifier: written by the command that it names -->",
    end: "<!-- end of verifier -->",
};

const CAUSES: Part = Part {
    file: "docs/detection.md",
    begin: "<!-- causes: written by the command that it names -->",
    end: "<!-- end of causes -->",
};

const ALERTS: Part = Part {
    file: "docs/alerting.md",
    begin: "<!-- alerts: written by the command that it names -->",
    end: "<!-- end of alerts -->",
};

const DEMO: Part = Part {
    file: "README.md",
    begin: "<!-- demo: written by cargo xtask demo --write -->",
    end: "<!-- end of demo -->",
};

const SOAK: Part = Part {
    file: "docs/overhead.md",
    begin: "<!-- soak: written by the command that it names -->",
    end: "<!-- end of soak -->",
};

const OVERHEAD: Part = Part {
    file: "docs/overhead.md",
    begin: "<!-- bench: written by the command that it names -->",
    end: "<!-- end of bench -->",
};

/// The pictures.
const DASHBOARD_PICTURE: &str = "docs/dashboard.svg";
const SOAK_PICTURE: &str = "docs/soak.svg";

/// Under which headings docs/detection.md has tables of causes.
const OF_CAUSES: [&str; 2] = ["Causes", "Connections that this host opens"];

/// Writes the matrix with its date and command between the markers of docs/kernels.md.
///
/// # Errors
///
/// When the file or its markers are not there, or it cannot be written.
pub fn write_matrix(matrix: &str, tally: Tally) -> anyhow::Result<()> {
    MATRIX.write(&format!("{}: {tally}.\n\n{matrix}", stamp()?))
}

/// Writes what the verifier takes, with date and command, between its markers of docs/kernels.md.
///
/// # Errors
///
/// As [`write_matrix`].
pub fn write_verifier(table: &str) -> anyhow::Result<()> {
    VERIFIER.write(&format!("{}.\n\n{table}", stamp()?))
}

/// Writes the table of causes with its date and command between the markers of docs/detection.md.
///
/// # Errors
///
/// As [`write_matrix`].
pub fn write_causes(table: &CausesTable) -> anyhow::Result<()> {
    let CausesTable { text, cells, .. } = table;
    CAUSES.write(&format!("{}; cells: {cells}.\n\n{text}", stamp()?))
}

/// When, and by which command.
fn stamp() -> anyhow::Result<String> {
    let date = command::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let typed: Vec<_> = std::env::args().skip(1).collect();
    let command = typed.join(" ");
    Ok(format!(
        "Written on {} by `cargo xtask {command}`",
        date.trim()
    ))
}

/// The causes that docs/detection.md has in its tables of causes, in its order.
///
/// # Errors
///
/// When the file is not there, or has none.
pub fn causes() -> anyhow::Result<Vec<String>> {
    let path = paths::workspace().join(CAUSES.file);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", CAUSES.file))?;
    let causes = causes_in(&text);
    ensure!(!causes.is_empty(), "{} has no table of causes", CAUSES.file);
    Ok(causes)
}

/// The first column of the tables of causes, each cause once. `unknown` is the want of one.
fn causes_in(text: &str) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let (mut is_of_causes, mut is_table) = (false, false);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            is_of_causes = OF_CAUSES.contains(&heading);
        }
        // A table's first line says what its first column is.
        is_table = line.starts_with("| cause |") || is_table && line.starts_with('|');
        let first = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once('`'));
        if let Some((cause, _)) = first
            && is_of_causes
            && is_table
            && cause != "unknown"
            && !causes.iter().any(|known| known == cause)
        {
            causes.push(cause.to_owned());
        }
    }
    causes
}

/// Writes what a demo printed between the markers of the README.
///
/// # Errors
///
/// When the file or its markers are not there, or it cannot be written.
pub fn write_demo(printed: &str) -> anyhow::Result<()> {
    DEMO.write(&format!("```text\n{}\n```", printed.trim()))
}

/// Writes what the alerts did, with date and command, between the markers of docs/alerting.md, and
/// what the dashboard showed as a picture.
///
/// # Errors
///
/// As [`write_matrix`].
pub fn write_alerts(printed: &str, picture: &str) -> anyhow::Result<()> {
    write_picture(DASHBOARD_PICTURE, picture)?;
    ALERTS.write(&story(printed)?)
}

/// Writes what an hour of storms did, with date and command, between the markers of docs/overhead.md,
/// and draws it.
///
/// # Errors
///
/// As [`write_matrix`].
pub fn write_soak(printed: &str, picture: &str) -> anyhow::Result<()> {
    write_picture(SOAK_PICTURE, picture)?;
    SOAK.write(&story(printed)?)
}

/// Writes what the agent costs, with date and command, between its markers of docs/overhead.md.
///
/// # Errors
///
/// As [`write_matrix`].
pub fn write_overhead(tables: &str) -> anyhow::Result<()> {
    OVERHEAD.write(&format!("{}. {tables}", stamp()?))
}

fn story(printed: &str) -> anyhow::Result<String> {
    let printed = printed.trim();
    Ok(format!("{}:\n\n```text\n{printed}\n```", stamp()?))
}

fn write_picture(file: &str, picture: &str) -> anyhow::Result<()> {
    let path = paths::workspace().join(file);
    fs::write(&path, picture).with_context(|| format!("write {file}"))
}

impl Part {
    fn write(&self, new: &str) -> anyhow::Result<()> {
        let Self { file, begin, end } = self;
        let path = paths::workspace().join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
        let text = self
            .replace(&text, new)
            .with_context(|| format!("{file} has no line {begin} followed by a line {end}"))?;
        fs::write(&path, text).with_context(|| format!("write {file}"))
    }

    fn replace(&self, text: &str, new: &str) -> Option<String> {
        let Self { begin, end, .. } = self;
        let (before, rest) = text.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", new.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::{MATRIX, causes, causes_in};

    #[test]
    fn causes_are_what_the_document_has_under_those_headings() {
        let text = "| cause |\n| `a` | x |\n## Causes\n| cause | x |\n|---|---|\n| `b` | `c` |\n\
                    ### Others\n\n| cause | x |\n|---|---|\n| `d` | x |\n\n\
                    ## Connections that this host opens\n\n| what | where |\n|---|---|\n\
                    | `e` | x |\n\n| cause | x |\n|---|---|\n| `f` (lost) | x |\n\
                    | `b` (lost) | x |\n| `unknown` (lost) | x |\n\n\
                    ## More\n| cause | x |\n| `g` | x |\n";
        assert_eq!(causes_in(text), ["b", "d", "f"]);
        // The document itself still has them so.
        let causes = causes().unwrap();
        for cause in [
            "cookie_ignored_rcvbuf",
            "synproxy_wscale",
            "disabled_here",
            "scaling_switched_off",
            "peer_did_not_grant",
        ] {
            assert!(causes.iter().any(|known| known == cause), "{causes:?}");
        }
        // That is a setting, of another table there.
        assert!(!causes.iter().any(|cause| cause == "tcp_window_scaling"));
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let (begin, end) = (MATRIX.begin, MATRIX.end);
        let old = format!("a\n{begin}\nold\n{end}\nz\n");
        let new = MATRIX.replace(&old, "new\n").unwrap();
        assert_eq!(new, format!("a\n{begin}\n\nnew\n\n{end}\nz\n"));
        assert_eq!(MATRIX.replace(&new, "new\n").unwrap(), new);
        assert!(MATRIX.replace("nothing", "new").is_none());
    }
}
