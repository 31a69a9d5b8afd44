//! The container image, as far as it can be made without a container engine: what is copied into
//! it runs with nothing else in its root, and takes what the manifests tell it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::{Answer, file, kubernetes};
use crate::build;
use crate::command::{self, which};
use crate::setup::packages;

const CONTAINERFILE: &str = "container/Containerfile";

/// What the instructions come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Image {
    /// From the build's folder, to the image.
    copies: Vec<(String, String)>,
    entrypoint: Vec<String>,
    arguments: Vec<String>,
}

/// What the image runs by itself.
pub fn alone() -> anyhow::Result<Answer> {
    run(None, &[])
}

/// What the pod runs.
pub fn in_pod() -> anyhow::Result<Answer> {
    let pod = kubernetes::command_line()?;
    run(Some(pod.arguments), &pod.environment)
}

/// Has the agent say what it makes of a command line, in a root that has nothing but the image.
fn run(arguments: Option<Vec<String>>, environment: &[(String, String)]) -> anyhow::Result<Answer> {
    let text = fs::read_to_string(file(CONTAINERFILE))?;
    let image = parse(&text).with_context(|| CONTAINERFILE)?;
    let Some(mut change_root) = change_root()? else {
        return Ok(Answer::Skipped(
            "neither root nor user namespaces".to_owned(),
        ));
    };
    let agent = build::run()?.agent;
    let folder = agent.parent().context("the agent lies nowhere")?;
    let root = lay_out(&image, folder)?;
    let printed = command::output(
        change_root
            .arg(root.path())
            .args(&image.entrypoint)
            .args(arguments.as_ref().unwrap_or(&image.arguments))
            .arg("--print-config")
            .env_clear()
            .envs(environment.iter().cloned()),
    )?;
    for (name, value) in environment {
        let line = format!("{name}={value}");
        ensure!(
            printed.lines().any(|found| found == line),
            "{line} has no effect:\n{printed}"
        );
    }
    ensure!(printed.contains("TCPWND_LISTEN="), "it printed {printed:?}");
    Ok(Answer::Held)
}

/// chroot, by the right of root or that of a user namespace.
fn change_root() -> anyhow::Result<Option<Command>> {
    // By their paths: the agent's environment has no PATH.
    let chroot = which("chroot").context("there is no chroot")?;
    if packages::is_root()? {
        return Ok(Some(Command::new(chroot)));
    }
    let as_root = || {
        let mut command = Command::new(which("unshare").unwrap_or_default());
        command.arg("--map-root-user").arg(&chroot);
        command
    };
    let can = command::output(as_root().args(["/", "/bin/true"])).is_ok();
    Ok(can.then(as_root))
}

fn lay_out(image: &Image, folder: &Path) -> anyhow::Result<tempfile::TempDir> {
    let root = tempfile::tempdir()?;
    for (from, to) in &image.copies {
        let inside = Path::new(to)
            .strip_prefix("/")
            .with_context(|| format!("copies to {to}"))?;
        let place: PathBuf = root.path().join(inside);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(folder.join(from), place).with_context(|| format!("copy {from} to {to}"))?;
    }
    Ok(root)
}

/// Understands what the image needs, and no more: another instruction wants another check.
fn parse(text: &str) -> anyhow::Result<Image> {
    let mut image = Image::default();
    let mut from = Vec::new();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    for line in joined.lines() {
        let Some((instruction, rest)) = line.split_once(' ') else {
            ensure!(line.is_empty(), "{line} says nothing");
            continue;
        };
        match instruction {
            "FROM" => from.push(rest),
            "COPY" => match rest.split(' ').collect::<Vec<_>>()[..] {
                [from, to] => image.copies.push((from.to_owned(), to.to_owned())),
                _ => bail!("COPY {rest}: one file to one place"),
            },
            "ENTRYPOINT" => image.entrypoint = serde_json::from_str(rest).context("ENTRYPOINT")?,
            "CMD" => image.arguments = serde_json::from_str(rest).context("CMD")?,
            "LABEL" => ensure!(rest.contains('='), "LABEL {rest}"),
            _ => bail!("{instruction} is not understood"),
        }
    }
    ensure!(
        from == ["scratch"],
        "it is made from {from:?}, not from scratch"
    );
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn instructions_of_an_image() {
        let image =
            parse("# a\nFROM scratch\nLABEL a=b \\\n  c=d\nCOPY x /y\nCMD [\"z\"]\n").unwrap();
        assert_eq!(image.copies, [("x".to_owned(), "/y".to_owned())]);
        assert_eq!(image.arguments, ["z"]);
        for wrong in [
            "COPY x /y",
            "FROM debian",
            "FROM scratch\nRUN x",
            "FROM scratch\nCMD z",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
