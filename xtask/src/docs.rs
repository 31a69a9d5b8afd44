//! Parts of the documents that are made by running things.

use std::fs;
use std::process::Command;

use anyhow::Context;

use crate::command;
use crate::paths;
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

const DEMO: Part = Part {
    file: "README.md",
    begin: "<!-- demo: written by cargo xtask demo --write -->",
    end: "<!-- end of demo -->",
};

/// Writes the matrix with its date and command between the markers of docs/kernels.md.
///
/// # Errors
///
/// When the file or its markers are not there, or it cannot be written.
pub fn write_matrix(matrix: &str, tally: Tally) -> anyhow::Result<()> {
    let date = command::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let typed: Vec<_> = std::env::args().skip(1).collect();
    MATRIX.write(&format!(
        "Written on {} by `cargo xtask {}`: {tally}.\n\n{matrix}",
        date.trim(),
        typed.join(" "),
    ))
}

/// Writes what a demo printed between the markers of the README.
///
/// # Errors
///
/// When the file or its markers are not there, or it cannot be written.
pub fn write_demo(printed: &str) -> anyhow::Result<()> {
    DEMO.write(&format!("```text\n{}\n```", printed.trim()))
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
    use super::MATRIX;

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
