//! What others wrote of a static program, and on which terms: each crate with the files that its
//! licence is in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::build::cargo;
use crate::command;
use crate::paths;

/// What ends up in the shipped file: the agent, and the kernel programs inside of it.
pub const ROOTS: [(&str, &str); 2] = [
    ("tcpwnd-agent", "x86_64-unknown-linux-gnu"),
    ("tcpwnd-ebpf", "bpfel-unknown-none"),
];

/// How files with licences and notices are called.
const NAMES: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];

/// What no registry has.
const BEGINNING: &str = "\
tcpwnd is one static program. Beside its own code (MIT OR Apache-2.0) it contains the software
named here, each on its own terms.

The Rust standard library, https://www.rust-lang.org: MIT OR Apache-2.0.

The GNU C Library, https://www.gnu.org/software/libc: LGPL-2.1-or-later. Whoever wants to link the
program with another version builds it from its source, which is public.
";

/// What `cargo metadata` says.
#[derive(Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

/// A crate.
#[derive(Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    id: String,
    license: Option<String>,
    repository: Option<String>,
    /// Absent for the crates of this workspace.
    source: Option<String>,
    manifest_path: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

/// `kind` is absent for what is neither for building nor for testing only.
#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// The list of them, with each licence once.
///
/// # Errors
///
/// When cargo fails, or a crate has no licence to show.
pub fn text() -> anyhow::Result<String> {
    let crates = crates()?;
    let mut text = BEGINNING.to_owned();
    let mut terms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    text.push_str("\nCrates:\n\n");
    for package in &crates {
        let Package { name, version, .. } = package;
        let license = package.license.as_deref();
        let license = license.with_context(|| format!("{name} {version} names no licence"))?;
        let from = package.repository.as_deref().unwrap_or("no address given");
        writeln!(text, "  {name} {version}, {from}: {license}")?;
        let files = license_files(package)?;
        // The text of that one is among those of the others.
        if files.is_empty() && !license.contains("Apache-2.0") {
            bail!("{name} {version} brings no file with its licence, {license}");
        }
        for file in files {
            terms
                .entry(file)
                .or_default()
                .push(format!("{name} {version}"));
        }
    }
    for (terms, crates) in terms {
        let rule = "-".repeat(80);
        writeln!(text, "\n{rule}\n{}:\n{rule}\n\n{terms}", crates.join(", "))?;
    }
    Ok(text)
}

/// Every crate of others that is in the shipped file.
///
/// # Errors
///
/// When cargo fails.
pub fn crates() -> anyhow::Result<BTreeSet<Package>> {
    let mut crates = BTreeSet::new();
    for (root, target) in ROOTS {
        let printed = command::output(metadata().args(["--filter-platform", target]))?;
        let metadata: Metadata =
            serde_json::from_str(&printed).context("understand cargo metadata")?;
        crates.extend(metadata.below(root)?);
    }
    Ok(crates)
}

fn metadata() -> Command {
    let mut cargo = cargo(&paths::workspace());
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    cargo
}

impl Metadata {
    /// What `root` is linked with.
    fn below(&self, root: &str) -> anyhow::Result<Vec<Package>> {
        let package_of = |id: &str| self.packages.iter().find(|package| package.id == id);
        let begin = self.packages.iter().find(|package| package.name == root);
        let mut waiting = vec![
            begin
                .with_context(|| format!("no crate {root}"))?
                .id
                .as_str(),
        ];
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let node = self.resolve.nodes.iter().find(|node| node.id == id);
            let dependencies = node.map_or(&[][..], |node| &node.deps);
            let linked = dependencies
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            waiting.extend(linked.map(|dependency| dependency.pkg.as_str()));
        }
        let packages = seen.into_iter().filter_map(package_of);
        let others = packages.filter(|package| package.source.is_some());
        Ok(others.cloned().collect())
    }
}

/// The texts, each without the white space that checkouts differ in.
fn license_files(package: &Package) -> anyhow::Result<Vec<String>> {
    let folder = Path::new(&package.manifest_path)
        .parent()
        .unwrap_or(Path::new("/"));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if NAMES.iter().any(|begin| name.starts_with(begin)) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file);
            let text = text.with_context(|| format!("read {}", file.display()))?;
            let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
            Ok(lines.join("\n"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{crates, text};

    #[test]
    fn both_programs_are_looked_through() {
        let crates = crates().unwrap();
        let has = |name: &str| crates.iter().any(|package| package.name == name);
        assert!(has("aya") && has("aya-ebpf") && has("btf-rs"));
        // For building and for tests only; of this workspace.
        assert!(!has("tempfile") && !has("aya-build") && !has("tcpwnd-core"));
    }

    #[test]
    fn licences_are_told_once() {
        let text = text().unwrap();
        assert!(text.contains("  btf-rs 2."));
        let apache = "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION";
        let lesser = "GNU LESSER GENERAL PUBLIC LICENSE";
        assert!(text.contains(apache) && text.contains(lesser));
        assert!(text.len() < 400_000, "{} bytes", text.len());
    }
}
