//! What is checked out.

use std::process::Command;

use crate::command;

/// The date, and the commit that is checked out, with a word on what is not committed but for the
/// documents, which answers are written into. What is measured is worth keeping without either.
pub fn now() -> String {
    let said = |program, arguments: &[&str]| {
        let said = command::output(Command::new(program).args(arguments));
        said.map_or_else(|_| "unknown".to_owned(), |said| said.trim().to_owned())
    };
    let date = said("date", &["-u", "+%Y-%m-%d"]);
    let commit = said("git", &["describe", "--always", "--exclude=*"]);
    let changes = said("git", &["status", "--porcelain", "--", ":/", ":!/docs"]);
    let changed = if changes.is_empty() {
        ""
    } else {
        " and changes"
    };
    format!("on {date} at commit {commit}{changed}")
}

#[cfg(test)]
mod tests {
    use super::now;

    #[test]
    fn the_commit_is_named() {
        assert!(now().starts_with("on 20"), "{}", now());
    }
}
