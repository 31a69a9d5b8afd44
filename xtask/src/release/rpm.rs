//! The package for distributions with rpm, by rpmbuild: deploy/rpm/tcpwnd.spec packs what was laid
//! out.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::layout::{self, CONFIG, DOC, Format, LICENSES};
use super::{Release, tree};
use crate::command::{self, which};
use crate::paths;

const ARCHITECTURE: &str = "x86_64";

/// Makes it, and says where it is.
///
/// # Errors
///
/// When rpmbuild is missing or fails, or something that goes into it cannot be had.
pub fn make(release: &Release, place: &Path) -> anyhow::Result<PathBuf> {
    if which("rpmbuild").is_none() {
        bail!("there is no rpmbuild; by hand: apt-get install rpm (elsewhere: rpm-build)");
    }
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    layout::stage(release, Format::Rpm, &root)?;
    let listing = folder.path().join("listing");
    layout::write(&listing, &list(&root)?)?;
    let mut rpmbuild = release.tool("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--target", ARCHITECTURE]);
    for (name, value) in [
        ("_topdir", folder.path().display().to_string()),
        ("stage", root.display().to_string()),
        ("listing", listing.display().to_string()),
        // rpm's order of versions has Debian's sign for what comes before.
        ("release_version", release.version.replace('-', "~")),
        ("package_revision", release.package_revision.to_string()),
        ("packager", release.maintainer.clone()),
        // Nothing of this machine, and no time but the release's.
        ("_buildhost", "localhost".to_owned()),
        ("use_source_date_epoch_as_buildtime", "1".to_owned()),
        ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
        ("_binary_payload", "w19.zstdio".to_owned()),
        // The files are as they should be: nothing is stripped or compressed again.
        ("__os_install_post", "%{nil}".to_owned()),
        ("debug_package", "%{nil}".to_owned()),
        ("_build_id_links", "none".to_owned()),
    ] {
        rpmbuild.arg("--define").arg(format!("{name} {value}"));
    }
    rpmbuild.arg(paths::workspace().join("deploy/rpm/tcpwnd.spec"));
    command::output(&mut rpmbuild)?;
    let name = format!(
        "tcpwnd-{}-{}.{ARCHITECTURE}.rpm",
        release.version.replace('-', "~"),
        release.package_revision
    );
    let built = folder.path().join("RPMS").join(ARCHITECTURE).join(&name);
    let package = place.join(name);
    std::fs::copy(&built, &package).with_context(|| format!("copy {}", built.display()))?;
    Ok(package)
}

/// The list of files as a spec has it, with owners and permissions; folders only where they are
/// this package's own.
fn list(root: &Path) -> anyhow::Result<String> {
    let mut list = String::new();
    for entry in tree::walk(root)? {
        let path = entry.path.display();
        let is_doc = entry.path.starts_with(DOC);
        let is_license = entry.path.starts_with(LICENSES);
        if entry.is_folder {
            if is_doc || is_license {
                writeln!(list, "%dir %attr(0755,root,root) /{path}")?;
            }
            continue;
        }
        let kind = match entry.path.to_str() {
            Some(CONFIG) => "%config(noreplace) ",
            _ if is_license => "%license ",
            _ if is_doc => "%doc ",
            _ => "",
        };
        writeln!(list, "{kind}%attr(-,root,root) /{path}")?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::list;

    #[test]
    fn only_folders_of_the_package_belong_to_it() {
        let root = tempfile::tempdir().unwrap();
        for path in ["etc/default/tcpwnd", "usr/share/doc/tcpwnd/x", "usr/bin/y"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let expected = "%config(noreplace) %attr(-,root,root) /etc/default/tcpwnd\n\
                        %attr(-,root,root) /usr/bin/y\n\
                        %dir %attr(0755,root,root) /usr/share/doc/tcpwnd\n\
                        %doc %attr(-,root,root) /usr/share/doc/tcpwnd/x\n";
        assert_eq!(list(root.path()).unwrap(), expected);
    }
}
