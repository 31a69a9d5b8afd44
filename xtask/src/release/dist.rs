//! `dist`: everything that a release is, in one folder, with a list of checksums.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::{MAINTAINER, Release, layout, packages, sbom, third_party, tree};
use crate::build;
use crate::command;
use crate::lint;
use crate::paths;

/// Where a release is put unless told otherwise.
const PLACE: &str = "dist";

/// The list of checksums, as `sha256sum --check` reads it.
const SUMS: &str = "SHA256SUMS";

/// What the archive has beside the program, its manual and its completions.
const DOCUMENTS: [&str; 7] = [
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "deploy",
    "docs",
];

/// What a release may be told.
#[derive(Args)]
pub struct Options {
    /// Put it here, into a folder that is empty or new, instead of target/dist
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Who answers for the packages
    #[arg(long, value_name = "NAME <ADDRESS>", default_value = MAINTAINER)]
    maintainer: String,
    /// Of a checkout with changes that are not committed; nobody could build it again
    #[arg(long)]
    dirty: bool,
    /// Then build it again from a clone in another folder, and compare
    #[arg(long, conflicts_with = "dirty")]
    again: bool,
}

/// Builds everything.
///
/// # Errors
///
/// When there are changes that are not committed, something cannot be built, a licence is not
/// allowed, or it is not the same again.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if !options.dirty {
        let changes = command::output(git().args(["status", "--porcelain"]))?;
        ensure!(
            changes.is_empty(),
            "there are changes that are not committed (--dirty):\n{changes}"
        );
    }
    let place = match &options.to {
        Some(place) => place.clone(),
        None => paths::target().join(PLACE),
    };
    if options.to.is_none() && place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
    let place = place.canonicalize()?;
    ensure!(
        tree::walk(&place)?.is_empty(),
        "{} is not empty",
        place.display()
    );
    if !lint::dependencies()?.passes() {
        bail!("deny.toml forbids a dependency");
    }
    let release = Release {
        maintainer: options.maintainer.clone(),
        ..Release::of(&build::dist()?)?
    };
    make(&release, &place)?;
    print!("{}", fs::read_to_string(place.join(SUMS))?);
    if options.again {
        again(options, &place)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything, into an empty folder.
fn make(release: &Release, place: &Path) -> anyhow::Result<()> {
    archive(release, place).context("make the archive")?;
    packages(release, place)?;
    chart(release, place).context("make the chart's archive")?;
    source(release, place).context("make the archive of the source")?;
    let sbom = sbom::make(release).context("list what it is made of")?;
    layout::write(
        &place.join(format!("tcpwnd-{}.cdx.json", release.version)),
        &sbom,
    )?;
    let names = tree::walk(place)?.into_iter().map(|entry| entry.path);
    let sums = command::output(Command::new("sha256sum").args(names).current_dir(place))?;
    layout::write(&place.join(SUMS), &sums)
}

/// The program and what belongs to it, for any distribution.
fn archive(release: &Release, place: &Path) -> anyhow::Result<()> {
    let name = format!("tcpwnd-{}-x86_64-linux", release.version);
    let folder = tempfile::tempdir()?;
    let root = folder.path().join(&name);
    layout::program(release, &root.join("tcpwnd"))?;
    layout::pages(release, &root.join("man"))?;
    layout::completions(
        release,
        [
            ("bash", root.join("completions/tcpwnd.bash")),
            ("fish", root.join("completions/tcpwnd.fish")),
            ("zsh", root.join("completions/_tcpwnd")),
        ],
    )?;
    for document in DOCUMENTS {
        layout::copy_tree(&paths::workspace(), Path::new(document), &root)?;
    }
    layout::write(&root.join("THIRD-PARTY"), &third_party::text()?)?;
    tar(
        release,
        folder.path(),
        &name,
        &place.join(name.clone() + ".tar.gz"),
    )
}

/// The Helm chart, as `helm package` calls it.
fn chart(release: &Release, place: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let charts = paths::workspace().join("deploy/helm");
    let told = fs::read_to_string(charts.join("tcpwnd/Chart.yaml"))?;
    for key in ["version", "appVersion"] {
        let line = format!("{key}: {}", release.version);
        ensure!(
            told.lines().any(|found| found == line),
            "Chart.yaml does not say {line}"
        );
    }
    layout::copy_tree(&charts, Path::new("tcpwnd"), folder.path())?;
    let name = format!("tcpwnd-{}.tgz", release.version);
    tar(release, folder.path(), "tcpwnd", &place.join(name))
}

/// The commit's files: what the rest can be built from.
fn source(release: &Release, place: &Path) -> anyhow::Result<()> {
    let name = format!("tcpwnd-{}-source", release.version);
    let tar = place.join(format!("{name}.tar"));
    command::run(
        git()
            .args(["archive", "--format=tar", "HEAD"])
            .arg(format!("--prefix={name}/"))
            .arg("--output")
            .arg(&tar),
    )?;
    layout::compress(release, &tar)
}

/// An archive that says nothing of this machine: sorted, of root, with the release's time.
fn tar(release: &Release, from: &Path, name: &str, to: &Path) -> anyhow::Result<()> {
    let plain = to.with_extension("");
    command::run(
        release
            .tool("tar")
            .args(["--create", "--format=ustar", "--sort=name"])
            .args(["--owner=root:0", "--group=root:0"])
            .arg(format!("--mtime=@{}", release.epoch))
            .arg("--directory")
            .arg(from)
            .arg("--file")
            .arg(&plain)
            .arg(name),
    )?;
    layout::compress(release, &plain)?;
    let compressed = plain.with_file_name(format!(
        "{}.gz",
        plain.file_name().unwrap_or_default().to_string_lossy()
    ));
    fs::rename(&compressed, to).with_context(|| format!("move it to {}", to.display()))
}

/// A clone builds the same in another folder.
fn again(options: &Options, first: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let clone = folder.path().join("another place");
    let second = folder.path().join("dist");
    command::run(git().args(["clone", "--quiet", "."]).arg(&clone))?;
    command::output(
        build::cargo(&clone)
            .args(["run", "--quiet", "--package", "xtask", "--", "dist"])
            .args(["--maintainer", &options.maintainer, "--to"])
            .arg(&second),
    )?;
    for entry in tree::walk(first)? {
        let differ = fs::read(first.join(&entry.path))? != fs::read(second.join(&entry.path))?;
        ensure!(!differ, "{} is not the same again", entry.path.display());
    }
    eprintln!("ok: the same again");
    Ok(())
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(paths::workspace());
    git
}
