//! What the shipped program is made of, as CycloneDX has it: by cargo-cyclonedx, for the agent and
//! for the kernel programs inside of it, joined into one document.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Release, third_party};
use crate::command;
use crate::paths;
use crate::setup::cargo_tool;

/// The tool's name for its file, which it puts beside each crate's manifest.
const NAME: &str = "sbom";

/// Makes the document.
///
/// # Errors
///
/// When the tool cannot be had or fails, or a crate is missing in what it says.
pub fn make(release: &Release) -> anyhow::Result<String> {
    let tool = cargo_tool::CYCLONEDX.ensure()?;
    let folder = tempfile::tempdir()?;
    let root = folder.path().canonicalize()?;
    manifests(&root)?;
    let mut documents = Vec::new();
    for (package, target) in third_party::ROOTS {
        command::run(
            release
                .tool(&tool.to_string_lossy())
                .current_dir(&root)
                .args(["cyclonedx", "--quiet", "--quiet", "--no-build-deps"])
                .args(["--format", "json", "--spec-version", "1.5"])
                .args(["--target", target, "--override-filename", NAME]),
        )?;
        let path = root.join(package).join(NAME).with_extension("json");
        let text = fs::read_to_string(&path).context("the tool wrote nothing")?;
        // Its folder says nothing to anybody.
        let text = text.replace(&format!("path+file://{}/", root.display()), "");
        documents.push(serde_json::from_str(&text).context("understand what the tool wrote")?);
    }
    let mut documents = documents.into_iter();
    let (agent, programs) = (documents.next(), documents.next());
    let mut all = join(agent.context("no agent")?, programs.context("no programs")?)?;
    add_libraries(&mut all)?;
    is_whole(&all)?;
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

/// The workspace without its code: the tool writes beside manifests, and the checkout stays clean.
fn manifests(to: &Path) -> anyhow::Result<()> {
    let from = paths::workspace();
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(from.join(name), to.join(name)).with_context(|| format!("copy {name}"))?;
    }
    for entry in fs::read_dir(&from)? {
        let name = entry?.file_name();
        let manifest = from.join(&name).join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let source = to.join(&name).join("src");
        fs::create_dir_all(&source)?;
        fs::copy(manifest, to.join(&name).join("Cargo.toml"))?;
        for file in ["main.rs", "lib.rs"] {
            if from.join(&name).join("src").join(file).is_file() {
                fs::write(source.join(file), "")?;
            }
        }
    }
    Ok(())
}

/// The agent's document with what the kernel programs add: they are a part of it.
fn join(mut agent: Value, mut programs: Value) -> anyhow::Result<Value> {
    let part = programs["metadata"]["component"].take();
    let part_ref = part["bom-ref"].clone();
    let agent_ref = agent["metadata"]["component"]["bom-ref"].clone();
    let list = |value: &mut Value| value.as_array().cloned().unwrap_or_default();
    let mut parts = list(&mut programs["components"]);
    parts.push(part);
    let components = agent["components"]
        .as_array_mut()
        .context("no components")?;
    for part in parts {
        if !components
            .iter()
            .any(|own| own["bom-ref"] == part["bom-ref"])
        {
            components.push(part);
        }
    }
    components.sort_by_key(|component| component["bom-ref"].to_string());
    let needs = agent["dependencies"]
        .as_array_mut()
        .context("no dependencies")?;
    for mut need in list(&mut programs["dependencies"]) {
        let own = needs.iter_mut().find(|own| own["ref"] == need["ref"]);
        match own.and_then(|own| own["dependsOn"].as_array_mut()) {
            Some(own) => {
                let more = list(&mut need["dependsOn"]);
                own.extend(more);
                own.sort_by_key(Value::to_string);
                own.dedup();
            }
            None => needs.push(need),
        }
    }
    needs.sort_by_key(|need| need["ref"].to_string());
    let own = needs.iter_mut().find(|need| need["ref"] == agent_ref);
    let own = own.and_then(|own| own["dependsOn"].as_array_mut());
    own.context("the agent depends on nothing")?.push(part_ref);
    Ok(agent)
}

/// What is linked in and comes from no registry.
fn add_libraries(document: &mut Value) -> anyhow::Result<()> {
    let rustc = command::output(Command::new("rustc").arg("--version"))?;
    let libc = command::output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let second = |text: &str| text.split_whitespace().nth(1).map(str::to_owned);
    let components = document["components"].as_array_mut();
    let components = components.context("no components")?;
    for (name, version, license) in [
        ("rust-std", second(&rustc), "MIT OR Apache-2.0"),
        ("glibc", second(&libc), "LGPL-2.1-or-later"),
    ] {
        let version = version.with_context(|| format!("{name} has no version"))?;
        components.push(json!({
            "type": "library",
            "bom-ref": format!("{name}@{version}"),
            "name": name,
            "version": version,
            "scope": "required",
            "licenses": [{ "expression": license }],
            "purl": format!("pkg:generic/{name}@{version}"),
        }));
    }
    Ok(())
}

/// Every crate is there that the licences are told of, and everything that is referred to.
fn is_whole(document: &Value) -> anyhow::Result<()> {
    let empty = Vec::new();
    let of = |key: &str| document[key].as_array().unwrap_or(&empty).iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let named: BTreeSet<String> = of("components")
        .map(|component| {
            format!(
                "{} {}",
                text(&component["name"]),
                text(&component["version"])
            )
        })
        .collect();
    for package in third_party::crates()? {
        let name = format!("{} {}", package.name, package.version);
        ensure!(named.contains(&name), "{name} is not in the SBOM");
    }
    let known: BTreeSet<String> = of("components")
        .chain([&document["metadata"]["component"]])
        .map(|component| text(&component["bom-ref"]))
        .collect();
    for need in of("dependencies") {
        let refs = need["dependsOn"].as_array().unwrap_or(&empty);
        for to in refs.iter().chain([&need["ref"]]) {
            ensure!(
                known.contains(&text(to)),
                "the SBOM refers to {to}, which it lacks"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::join;

    #[test]
    fn kernel_programs_are_a_part_of_the_agent() {
        let document = |name: &str, crates: &[&str]| {
            let components: Vec<_> = crates.iter().map(|name| json!({"bom-ref": name})).collect();
            json!({
                "metadata": {"component": {"bom-ref": name}},
                "components": components,
                "dependencies": [{"ref": name, "dependsOn": crates}],
            })
        };
        let joined = join(
            document("agent", &["aya", "both"]),
            document("bpf", &["aya-ebpf", "both"]),
        );
        let joined = joined.unwrap();
        let refs = joined["components"].as_array().unwrap().iter();
        let refs: Vec<_> = refs
            .map(|component| component["bom-ref"].as_str().unwrap())
            .collect();
        assert_eq!(refs, ["aya", "aya-ebpf", "both", "bpf"]);
        assert_eq!(
            joined["dependencies"],
            json!([
                {"ref": "agent", "dependsOn": ["aya", "both", "bpf"]},
                {"ref": "bpf", "dependsOn": ["aya-ebpf", "both"]},
            ])
        );
    }
}
