//! The copyright of the package for Debian says what the licences beside it say.

use std::fs;

use anyhow::{Context, ensure};

use super::{Answer, file};
use crate::paths;

/// The one that every Debian has, which is named and not repeated.
const COMMON: &str = "Apache-2.0";

/// Every licence of Cargo.toml has its paragraph, with the text that is in the checkout, or, of one that
/// every Debian has, where it is there.
pub fn copyright() -> anyhow::Result<Answer> {
    let path = file("deb/copyright");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let all = first(&text, "Files: *").context("nothing is said of all files")?;
    let licensed = field(all, "License").context("all files have no licence")?;
    let manifest = fs::read_to_string(paths::workspace().join("Cargo.toml"))?;
    let meant = manifest
        .lines()
        .find_map(|line| line.strip_prefix("license = "))
        .context("Cargo.toml names no licence")?
        .trim_matches('"')
        .replace(" OR ", " or ");
    ensure!(licensed == meant, "it says {licensed}, Cargo.toml {meant}");
    for name in meant.split(" or ") {
        let said = first(&text, &format!("License: {name}"))
            .with_context(|| format!("{name} has no paragraph"))?;
        let said: Vec<_> = words(said).skip(2).collect();
        if name == COMMON {
            let place = format!("/usr/share/common-licenses/{COMMON}.");
            ensure!(
                said.contains(&place.as_str()),
                "{name} is not where {place}"
            );
        } else {
            let whole = fs::read_to_string(paths::workspace().join(format!("LICENSE-{name}")))?;
            // Without title and authors.
            let terms: Vec<_> = words(&whole)
                .skip_while(|word| said.first() != Some(word))
                .collect();
            ensure!(
                terms == said && !said.is_empty(),
                "{name} is not what LICENSE-{name} says"
            );
        }
    }
    Ok(Answer::Held)
}

/// The first paragraph that begins with this line.
fn first<'a>(text: &'a str, line: &str) -> Option<&'a str> {
    let mut paragraphs = text.split("\n\n");
    paragraphs.find(|paragraph| paragraph.lines().next() == Some(line))
}

fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = paragraph.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Without the dots that stand for empty lines.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| *word != ".")
}
