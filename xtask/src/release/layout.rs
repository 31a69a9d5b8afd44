//! What a package puts where: one list for both formats. Beside the program, its unit, its manual
//! and its completions lie the documents of the checkout, so that their links hold.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{Release, third_party, tree};
use crate::command;
use crate::paths;

/// The format of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Debian's.
    Deb,
    /// rpm's.
    Rpm,
}

/// Where documents go.
pub const DOC: &str = "usr/share/doc/tcpwnd";

/// Where rpm wants licences; Debian wants them among the documents.
pub const LICENSES: &str = "usr/share/licenses/tcpwnd";

/// What an administrator edits: neither format overwrites it.
pub const CONFIG: &str = "etc/default/tcpwnd";

const MAN: &str = "usr/share/man/man8";

/// Files of the checkout, and where they go.
const FILES: [(&str, &str); 2] = [
    ("deploy/systemd/tcpwnd.default", CONFIG),
    (
        "deploy/systemd/tcpwnd.service",
        "usr/lib/systemd/system/tcpwnd.service",
    ),
];

/// Files and folders of the checkout that become documents, under their own names. What is for
/// clusters is in the archive.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "SECURITY.md",
    "docs",
    "deploy/grafana",
    "deploy/prometheus/tcpwnd.rules.yml",
    "deploy/rolling-restart",
    "deploy/systemd/old-kernels.conf",
];

/// Puts everything that a package of this format installs below `root`.
///
/// # Errors
///
/// When something cannot be read, made or written.
pub fn stage(release: &Release, format: Format, root: &Path) -> anyhow::Result<()> {
    let place = |to: &str| root.join(to);
    program(release, &place("usr/bin/tcpwnd"))?;
    for (from, to) in FILES {
        copy(&paths::workspace().join(from), &place(to), 0o644)?;
    }
    for name in DOCUMENTS {
        copy_tree(&paths::workspace(), Path::new(name), &place(DOC))?;
    }
    manual(release, &place(MAN))?;
    let zsh = match format {
        Format::Deb => "usr/share/zsh/vendor-completions",
        Format::Rpm => "usr/share/zsh/site-functions",
    };
    let scripts = [
        (
            "bash",
            place("usr/share/bash-completion/completions/tcpwnd"),
        ),
        (
            "fish",
            place("usr/share/fish/vendor_completions.d/tcpwnd.fish"),
        ),
        ("zsh", place(zsh).join("_tcpwnd")),
    ];
    completions(release, scripts)?;
    licenses(release, format, root)
}

/// The scripts that the agent writes, one a shell.
///
/// # Errors
///
/// When the agent fails, or a script cannot be written.
pub fn completions(release: &Release, scripts: [(&str, PathBuf); 3]) -> anyhow::Result<()> {
    for (shell, path) in scripts {
        let script = command::output(agent(release).args(["completions", shell]))?;
        write(&path, &script)?;
    }
    Ok(())
}

/// The agent without symbols, which take a third of it.
///
/// # Errors
///
/// When it cannot be read or written, or there is no strip.
pub fn program(release: &Release, to: &Path) -> anyhow::Result<()> {
    copy(&release.agent, to, 0o755)?;
    command::run(release.tool("strip").arg("--strip-all").arg(to))
}

/// The licences, and the changelog, each where its format wants it.
fn licenses(release: &Release, format: Format, root: &Path) -> anyhow::Result<()> {
    let checkout = paths::workspace();
    let changelog = checkout.join("CHANGELOG.md");
    match format {
        Format::Deb => {
            let doc = root.join(DOC);
            copy(
                &checkout.join("deploy/deb/copyright"),
                &doc.join("copyright"),
                0o644,
            )?;
            write(&doc.join("THIRD-PARTY"), &third_party::text()?)?;
            copy(&changelog, &doc.join("changelog"), 0o644)?;
            write(&doc.join("changelog.Debian"), &debian_changelog(release)?)?;
            for name in ["THIRD-PARTY", "changelog", "changelog.Debian"] {
                compress(release, &doc.join(name))?;
            }
        }
        Format::Rpm => {
            copy(&changelog, &root.join(DOC).join("CHANGELOG.md"), 0o644)?;
            let folder = root.join(LICENSES);
            for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
                copy(&checkout.join(name), &folder.join(name), 0o644)?;
            }
            write(&folder.join("THIRD-PARTY"), &third_party::text()?)?;
        }
    }
    Ok(())
}

/// The pages that the agent writes, compressed.
fn manual(release: &Release, folder: &Path) -> anyhow::Result<()> {
    pages(release, folder)?;
    for page in tree::walk(folder)? {
        compress(release, &folder.join(page.path))?;
    }
    Ok(())
}

/// The pages that the agent writes.
///
/// # Errors
///
/// When the agent fails.
pub fn pages(release: &Release, folder: &Path) -> anyhow::Result<()> {
    command::output(agent(release).arg("man").arg(folder))?;
    for page in tree::walk(folder)? {
        set_mode(&folder.join(page.path), 0o644)?;
    }
    set_mode(folder, 0o755)
}

/// The agent, told nothing by this process's environment.
fn agent(release: &Release) -> Command {
    let mut command = Command::new(&release.agent);
    command.env_clear();
    command
}

/// What Debian wants to know of a package's history; the program's own is beside it.
fn debian_changelog(release: &Release) -> anyhow::Result<String> {
    let date = format!("--date=@{}", release.epoch);
    let date = command::output(release.tool("date").args(["--utc", "--rfc-email", &date]))?;
    Ok(format!(
        "tcpwnd ({}) unstable; urgency=medium\n\n  * Version {} of tcpwnd; changelog.gz says what is new.\n\n -- {}  {date}",
        super::deb::version(release),
        release.version,
        release.maintainer,
    ))
}

/// Copies a file or folder of `checkout` to the same path below `to`.
///
/// # Errors
///
/// When something cannot be read or written.
pub fn copy_tree(checkout: &Path, name: &Path, to: &Path) -> anyhow::Result<()> {
    let from = checkout.join(name);
    if !from.is_dir() {
        return copy(&from, &to.join(name), mode_of(&from)?);
    }
    for entry in tree::walk(&from)? {
        if !entry.is_folder {
            let from = from.join(&entry.path);
            copy(&from, &to.join(name).join(entry.path), mode_of(&from)?)?;
        }
    }
    Ok(())
}

/// 0755 for what can be executed, 0644 for the rest, whatever the user's umask made of it.
fn mode_of(file: &Path) -> anyhow::Result<u32> {
    let metadata = fs::metadata(file).with_context(|| format!("read {}", file.display()))?;
    let executable = metadata.permissions().mode() & 0o100 != 0;
    Ok(if executable { 0o755 } else { 0o644 })
}

/// Copies a file and gives it these permissions.
///
/// # Errors
///
/// When it cannot be read or written.
pub fn copy(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    make_folder_of(to)?;
    fs::write(to, content).with_context(|| format!("write {}", to.display()))?;
    set_mode(to, mode)
}

/// Writes a file for everybody to read.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(to: &Path, content: &str) -> anyhow::Result<()> {
    make_folder_of(to)?;
    fs::write(to, content).with_context(|| format!("write {}", to.display()))?;
    set_mode(to, 0o644)
}

/// The folders above a file, open to everybody whatever the umask is.
fn make_folder_of(file: &Path) -> anyhow::Result<()> {
    let missing: Vec<PathBuf> = file
        .ancestors()
        .skip(1)
        .take_while(|folder| !folder.exists())
        .map(Path::to_owned)
        .collect();
    for folder in missing.iter().rev() {
        fs::create_dir(folder).with_context(|| format!("make {}", folder.display()))?;
        set_mode(folder, 0o755)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the permissions of {}", path.display()))
}

/// Puts a file into `FILE.gz`, without its name and time.
///
/// # Errors
///
/// When gzip fails.
pub fn compress(release: &Release, file: &Path) -> anyhow::Result<()> {
    command::run(release.tool("gzip").args(["--best", "--no-name"]).arg(file))
}
