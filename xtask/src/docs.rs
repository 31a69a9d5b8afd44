//! Parts of the documents that are made by running things.

use std::fs;
use std::process::Command;

use anyhow::Context;

use crate::command;
use crate::paths;
use crate::vm::results::Results;

/// Where the matrix goes.
const KERNELS: &str = "docs/kernels.md";
const BEGIN: &str = "<!-- matrix: written by cargo xtask test --full -->";
const END: &str = "<!-- end of matrix -->";

/// Writes the matrix with its date between the markers of docs/kernels.md.
///
/// # Errors
///
/// When the file or its markers are not there, or it cannot be written.
pub fn write_matrix(results: &Results) -> anyhow::Result<()> {
    let path = paths::workspace().join(KERNELS);
    let text = fs::read_to_string(&path).with_context(|| format!("read {KERNELS}"))?;
    let date = command::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let tally = results.tally();
    let part = format!("Of {}: {tally}.\n\n{}", date.trim(), results.matrix());
    let text = replace_part(&text, &part)
        .with_context(|| format!("{KERNELS} has no line {BEGIN} followed by a line {END}"))?;
    fs::write(&path, text).with_context(|| format!("write {KERNELS}"))
}

fn replace_part(text: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{BEGIN}\n\n{}\n\n{END}{after}",
        part.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replace_part};

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let old = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        let new = replace_part(&old, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\n\nnew\n\n{END}\nz\n"));
        assert_eq!(replace_part(&new, "new\n").unwrap(), new);
        assert!(replace_part("nothing", "new").is_none());
    }
}
