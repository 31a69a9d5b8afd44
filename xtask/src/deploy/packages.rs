//! The packages: what is in them, who may read it, and that nothing in them depends on when and
//! where they were built. [`crate::release::install`] installs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail, ensure};

use super::{Answer, file};
use crate::build;
use crate::command::{self, which};
use crate::paths;
use crate::release::{self, Release, deb as debian};
use crate::setup::scripts as readers;

/// What a package has to install beside documents: permissions and path.
const FILES: [&str; 13] = [
    "-rw-r--r-- /etc/default/tcpwnd",
    "-rwxr-xr-x /usr/bin/tcpwnd",
    "-rw-r--r-- /usr/lib/systemd/system/tcpwnd.service",
    "-rw-r--r-- /usr/share/bash-completion/completions/tcpwnd",
    "-rw-r--r-- /usr/share/fish/vendor_completions.d/tcpwnd.fish",
    "-rw-r--r-- /usr/share/man/man8/tcpwnd-btf.8.gz",
    "-rw-r--r-- /usr/share/man/man8/tcpwnd-check.8.gz",
    "-rw-r--r-- /usr/share/man/man8/tcpwnd-completions.8.gz",
    "-rw-r--r-- /usr/share/man/man8/tcpwnd-man.8.gz",
    "-rw-r--r-- /usr/share/man/man8/tcpwnd-run.8.gz",
    "-rw-r--r-- /usr/share/man/man8/tcpwnd-scan.8.gz",
    "-rw-r--r-- /usr/share/man/man8/tcpwnd-trace.8.gz",
    "-rw-r--r-- /usr/share/man/man8/tcpwnd.8.gz",
];

/// Documents in either format, below [`DOC`], beside those of docs/.
const DOCUMENTS: [&str; 8] = [
    "-rw-r--r-- README.md",
    "-rw-r--r-- SECURITY.md",
    "-rw-r--r-- deploy/grafana/tcpwnd.json",
    "-rw-r--r-- deploy/prometheus/tcpwnd.rules.yml",
    "-rw-r--r-- deploy/rolling-restart/ansible.yml",
    "-rwxr-xr-x deploy/rolling-restart/rolling-restart.sh",
    "-rwxr-xr-x deploy/rolling-restart/strimzi.sh",
    "-rw-r--r-- deploy/systemd/old-kernels.conf",
];

const DOC: &str = "/usr/share/doc/tcpwnd";

/// What only the one for Debian has.
const DEB_ONLY: [&str; 5] = [
    "-rw-r--r-- /usr/share/doc/tcpwnd/THIRD-PARTY.gz",
    "-rw-r--r-- /usr/share/doc/tcpwnd/changelog.Debian.gz",
    "-rw-r--r-- /usr/share/doc/tcpwnd/changelog.gz",
    "-rw-r--r-- /usr/share/doc/tcpwnd/copyright",
    "-rw-r--r-- /usr/share/zsh/vendor-completions/_tcpwnd",
];

/// What only the one for rpm has.
const RPM_ONLY: [&str; 5] = [
    "-rw-r--r-- /usr/share/doc/tcpwnd/CHANGELOG.md",
    "-rw-r--r-- /usr/share/licenses/tcpwnd/LICENSE-APACHE",
    "-rw-r--r-- /usr/share/licenses/tcpwnd/LICENSE-MIT",
    "-rw-r--r-- /usr/share/licenses/tcpwnd/THIRD-PARTY",
    "-rw-r--r-- /usr/share/zsh/site-functions/_tcpwnd",
];

/// What the packages' file of options proposes: what most will set.
const PROPOSED: [&str; 3] = ["TCPWND_PORT", "TCPWND_LISTEN", "TCPWND_FORMAT"];

/// What lintian would say of every package of ours, and why it may.
const NOT_FOR_US: [&str; 4] = [
    // The maintainer's address is for those to set who distribute the package.
    "bogus-mail-host",
    "bogus-mail-host-in-debian-changelog",
    // It is not uploaded to Debian.
    "initial-upload-closes-no-bugs",
    // A static program that can be loaded anywhere looks like a library.
    "shared-library-lacks-prerequisites",
];

/// Each permissions, owner and path of a file, as [`FILES`] has it.
type Contents = BTreeSet<String>;

/// The options that the packages' file proposes are options of the agent.
pub fn options() -> anyhow::Result<Answer> {
    let text = fs::read_to_string(file("systemd/tcpwnd.default"))?;
    let proposed: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#TCPWND_").map(|_| &line[1..]))
        .filter_map(|line| line.split_once('='))
        .collect();
    let names: Vec<_> = proposed.iter().map(|(name, _)| *name).collect();
    ensure!(names == PROPOSED, "it proposes {names:?}");
    let printed = command::output(
        Command::new(build::run()?.agent)
            .args(["run", "--print-config"])
            .env_clear()
            .envs(proposed.iter().copied()),
    )?;
    for (name, value) in proposed {
        let line = format!("{name}={value}");
        ensure!(
            printed.lines().any(|found| found == line),
            "{line} has no effect:\n{printed}"
        );
    }
    Ok(Answer::Held)
}

/// What is in the package for Debian, and what dpkg is told of it.
pub fn deb() -> anyhow::Result<Answer> {
    let [deb, _] = made()?;
    let listed = command::output(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    let mut found = Contents::new();
    for line in listed.lines() {
        // Permissions, owner, size, day, time, path.
        let fields: Vec<_> = line.split_whitespace().collect();
        let [permissions, owner, _, _, _, path] = fields[..] else {
            bail!("dpkg-deb listed {line:?}");
        };
        ensure!(owner == "root/root", "{path} belongs to {owner}");
        match permissions.starts_with('d') {
            true => ensure!(permissions == "drwxr-xr-x", "{path} has {permissions}"),
            false => drop(found.insert(format!("{permissions} {}", &path[1..]))),
        }
    }
    same(&found, &DEB_ONLY)?;
    let control =
        |what: &str| command::output(Command::new("dpkg-deb").arg("-I").arg(deb).arg(what));
    ensure!(
        control("conffiles")? == "/etc/default/tcpwnd\n",
        "not just its options are a conffile"
    );
    let fields = control("control")?;
    let blank = fields.split_whitespace().find(|word| word.starts_with('@'));
    ensure!(blank.is_none(), "not filled in: {blank:?}");
    // It is static.
    ensure!(
        !fields.contains("Depends:"),
        "it depends on something: {fields}"
    );
    Ok(Answer::Held)
}

/// lintian finds neither errors nor anything to warn of.
pub fn lintian() -> anyhow::Result<Answer> {
    if which("lintian").is_none() {
        return Ok(Answer::Skipped("there is no lintian".to_owned()));
    }
    let [deb, _] = made()?;
    let output = Command::new("lintian")
        .args(["--no-cfg", "--allow-root", "--fail-on", "error,warning"])
        .args(["--suppress-tags", &NOT_FOR_US.join(",")])
        .arg(deb)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .context("cannot run lintian")?;
    held(&output)
}

/// What is in the package for rpm.
pub fn rpm() -> anyhow::Result<Answer> {
    if which("rpm").is_none() {
        return Ok(Answer::Skipped("there is no rpm".to_owned()));
    }
    let format = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILEFLAGS:fflags}| \
                  %{FILENAMES}\n]";
    let mut found = Contents::new();
    for line in query(format)?.lines() {
        let (attributes, path) = line.split_once("| ").context("rpm listed no path")?;
        let fields: Vec<_> = attributes.split_whitespace().collect();
        let (permissions, flags) = match fields[..] {
            [permissions, "root/root"] => (permissions, ""),
            [permissions, "root/root", flags] => (permissions, flags),
            _ => bail!("rpm listed {line:?}"),
        };
        if permissions.starts_with('d') {
            let own = path.starts_with(DOC) || path == "/usr/share/licenses/tcpwnd";
            ensure!(own && permissions == "drwxr-xr-x", "rpm listed {line:?}");
            continue;
        }
        // c: edited by administrators, n: and not replaced.
        ensure!(
            (flags == "cn") == (path == "/etc/default/tcpwnd"),
            "rpm listed {line:?}"
        );
        found.insert(format!("{permissions} {path}"));
    }
    same(&found, &RPM_ONLY)?;
    let [_, rpm] = made()?;
    command::output(Command::new("rpm").args(["-K", "--nosignature"]).arg(rpm))?;
    Ok(Answer::Held)
}

/// shellcheck has nothing to say, about the scripts as they are in the packages.
pub fn scripts() -> anyhow::Result<Answer> {
    let folder = tempfile::tempdir()?;
    let [deb, _] = made()?;
    let control = folder.path().join("control");
    command::output(
        Command::new("dpkg-deb")
            .arg("--control")
            .args([deb, &control]),
    )?;
    let mut scripts: Vec<PathBuf> = debian::SCRIPTS.map(|script| control.join(script)).into();
    if which("rpm").is_some() {
        for tag in ["POSTIN", "PREUN", "POSTUN"] {
            let script = folder.path().join(tag);
            let text = query(&format!("%{{{tag}}}\n"))?;
            ensure!(text.contains("tcpwnd.service"), "{tag} is {text:?}");
            fs::write(&script, format!("#!/bin/sh\n{text}"))?;
            scripts.push(script);
        }
    }
    let shellcheck = readers::ensure()?.shellcheck;
    let output = Command::new(shellcheck).args(scripts).output();
    held(&output.context("cannot run shellcheck")?)
}

/// The same agent gives the same bytes, whatever the time, the place and the umask.
pub fn again() -> anyhow::Result<Answer> {
    let first = made()?;
    let folder = tempfile::tempdir()?;
    let second = release::packages(&release()?, folder.path())?;
    for (first, second) in first.iter().zip(&second) {
        let differ = fs::read(first)? != fs::read(second)?;
        ensure!(!differ, "{} is not the same again", first.display());
    }
    Ok(Answer::Held)
}

fn release() -> anyhow::Result<Release> {
    Release::of(&build::run()?.agent)
}

/// Both packages, made once.
fn made() -> anyhow::Result<&'static [PathBuf; 2]> {
    static MADE: OnceLock<Result<[PathBuf; 2], String>> = OnceLock::new();
    let make = || {
        let place = paths::target().join(release::PLACE);
        fs::create_dir_all(&place)?;
        release::packages(&release()?, &place)
    };
    let made = MADE.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow!("{error}"))
}

fn query(format: &str) -> anyhow::Result<String> {
    let [_, rpm] = made()?;
    command::output(Command::new("rpm").args(["-qp", "--qf", format]).arg(rpm))
}

/// Nothing is missing and nothing else is there.
fn same(found: &Contents, only: &[&str]) -> anyhow::Result<()> {
    let mut expected: Contents = FILES
        .iter()
        .chain(only)
        .map(|line| (*line).to_owned())
        .collect();
    for document in DOCUMENTS {
        expected.insert(document.replacen(' ', &format!(" {DOC}/"), 1));
    }
    let docs = paths::workspace().join("docs");
    expected.extend(
        below(&docs)?
            .iter()
            .map(|path| format!("-rw-r--r-- {DOC}/docs/{path}")),
    );
    let missing: Vec<_> = expected.difference(found).collect();
    let more: Vec<_> = found.difference(&expected).collect();
    ensure!(
        missing.is_empty() && more.is_empty(),
        "missing: {missing:?}; not expected: {more:?}"
    );
    Ok(())
}

/// Paths of files in a folder.
fn below(folder: &Path) -> anyhow::Result<Vec<String>> {
    let listed = command::output(
        Command::new("find")
            .args([".", "-type", "f", "-printf", "%P\n"])
            .current_dir(folder),
    )?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn held(output: &Output) -> anyhow::Result<Answer> {
    let bytes = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&bytes);
    ensure!(output.status.success(), "{}", said.trim());
    Ok(Answer::Held)
}
