//! The package for Debian, by dpkg-deb: the control files are those under deploy/deb.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::layout::{self, CONFIG, Format};
use super::{Release, tree};
use crate::command::{self, which};
use crate::paths;

/// What x86_64 is called here.
const ARCHITECTURE: &str = "amd64";

/// Scripts of the package.
pub const SCRIPTS: [&str; 3] = ["postinst", "postrm", "prerm"];

/// The package's version: the program's, and which package of it this is.
pub fn version(release: &Release) -> String {
    // What comes before a version sorts before it.
    let version = release.version.replace('-', "~");
    format!("{version}-{}", release.package_revision)
}

/// Makes it, and says where it is.
///
/// # Errors
///
/// When dpkg-deb is missing or fails, or something that goes into it cannot be had.
pub fn make(release: &Release, place: &Path) -> anyhow::Result<PathBuf> {
    if which("dpkg-deb").is_none() {
        bail!("there is no dpkg-deb; by hand: apt-get install dpkg");
    }
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    layout::stage(release, Format::Deb, &root)?;
    let control = root.join("DEBIAN");
    // Before there is a control folder: neither of them counts that.
    let sums = sums(&root)?;
    let text = control_file(release, &root)?;
    layout::write(&control.join("md5sums"), &sums)?;
    layout::write(&control.join("control"), &text)?;
    layout::write(&control.join("conffiles"), &format!("/{CONFIG}\n"))?;
    for script in SCRIPTS {
        let from = paths::workspace().join("deploy/deb").join(script);
        layout::copy(&from, &control.join(script), 0o755)?;
    }
    let package = place.join(format!("tcpwnd_{}_{ARCHITECTURE}.deb", version(release)));
    command::run(
        release
            .tool("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--threads-max=1", "--build"])
            .args([&root, &package]),
    )?;
    Ok(package)
}

/// What `dpkg --verify` compares with.
fn sums(root: &Path) -> anyhow::Result<String> {
    let mut md5sum = std::process::Command::new("md5sum");
    md5sum.current_dir(root);
    for entry in tree::walk(root)? {
        if !entry.is_folder {
            md5sum.arg(entry.path);
        }
    }
    command::output(&mut md5sum)
}

fn control_file(release: &Release, root: &Path) -> anyhow::Result<String> {
    let path = paths::workspace().join("deploy/deb/control");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let filled = [
        ("@VERSION@", version(release)),
        ("@ARCHITECTURE@", ARCHITECTURE.to_owned()),
        ("@MAINTAINER@", release.maintainer.clone()),
        ("@INSTALLED_SIZE@", installed_size(root)?.to_string()),
    ]
    .iter()
    .fold(text, |text, (name, value)| text.replace(name, value));
    Ok(filled)
}

/// In KiB, counted as Debian's policy has it (5.6.20): a file takes whole ones, a folder takes one.
fn installed_size(root: &Path) -> anyhow::Result<u64> {
    let entries = tree::walk(root)?;
    let sizes = entries.iter().map(|entry| match entry.is_folder {
        true => 1,
        false => entry.size.div_ceil(1024),
    });
    Ok(sizes.sum())
}

#[cfg(test)]
mod tests {
    use super::{Release, version};

    #[test]
    fn a_candidate_sorts_before_its_release() {
        let release = |version: &str| Release {
            version: version.to_owned(),
            package_revision: 2,
            epoch: 1,
            maintainer: String::new(),
            agent: "tcpwnd".into(),
        };
        assert_eq!(version(&release("1.2.3")), "1.2.3-2");
        assert_eq!(version(&release("1.2.3-rc.1")), "1.2.3~rc.1-2");
    }
}
