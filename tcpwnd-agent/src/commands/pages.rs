//! `completions` and `man`: what is derived from the command line's definition.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::CLEAN;
use crate::cli;

/// Section of the manual: system administration.
const SECTION: &str = "8";

/// Prints a completion script.
///
/// # Errors
/// When it cannot be written.
pub fn completions(shell: clap_complete::Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "tcpwnd", &mut script);
    io::stdout().write_all(&script)?;
    Ok(CLEAN)
}

/// Prints the manual page, or writes one for each subcommand.
///
/// # Errors
/// When a page cannot be written.
pub fn man(dir: Option<&Path>) -> Result<u8> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(cli::command())
            .section(SECTION)
            .render(&mut page)?;
        io::stdout().write_all(&page)?;
        return Ok(CLEAN);
    };
    std::fs::create_dir_all(dir)
        .with_context(|| format!("failed to create directory {}", dir.display()))?;
    let mut command = cli::command().disable_help_subcommand(true);
    command.build();
    let subcommands: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    for command in std::iter::once(command).chain(subcommands) {
        // `tcpwnd trace` is the page tcpwnd-trace(8).
        let name = command
            .get_display_name()
            .unwrap_or(command.get_name())
            .to_owned();
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .section(SECTION)
            .render(&mut page)?;
        let path = dir.join(format!("{name}.{SECTION}"));
        std::fs::write(&path, page)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(CLEAN)
}
