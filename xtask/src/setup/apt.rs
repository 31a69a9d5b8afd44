//! A private view of Debian's archive: suites of our choice from the mirror that this system is
//! configured for, apart from the system's own apt state. apt verifies the signatures as always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::mirrors::Mirrors;
use crate::arch::Arch;
use crate::command::{self, which};
use crate::paths;

/// Debian's own keys, from the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Some suites of the archive, with lists of their own.
pub struct Archive {
    folder: PathBuf,
    arch: Arch,
}

/// One version of a package that the archive offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
}

impl Archive {
    /// Fetches the lists of `suites`; `name` is the state's folder in the cache.
    ///
    /// # Errors
    ///
    /// When this is no system with apt, or a suite cannot be had or its signature is wrong.
    pub fn open(name: &str, suites: &[&str]) -> anyhow::Result<Self> {
        Self::open_for(Arch::X86_64, name, suites)
    }

    /// As [`Self::open`], with packages of an architecture.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub fn open_for(arch: Arch, name: &str, suites: &[&str]) -> anyhow::Result<Self> {
        if which("apt-get").is_none() || which("dpkg-deb").is_none() {
            bail!("apt-get and dpkg-deb are not there: this needs a Debian system");
        }
        if !Path::new(KEYRING).is_file() {
            bail!("{KEYRING} is missing: apt-get install debian-archive-keyring");
        }
        let folder = paths::cache_folder(&format!("apt/{name}"))?;
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("sources.list"), sources(arch, suites)?)?;
        // What this system has installed is no help there.
        fs::write(folder.join("status"), "")?;
        let archive = Self { folder, arch };
        command::output(archive.apt("apt-get").arg("update"))
            .with_context(|| format!("fetch the lists of {}", suites.join(", ")))?;
        Ok(archive)
    }

    /// The names of packages that begin with `prefix`.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub fn names(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let text = command::output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Every version of these packages.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub fn candidates(&self, packages: &[String]) -> anyhow::Result<Vec<Candidate>> {
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        let text = command::output(self.apt("apt-cache").arg("madison").args(packages))?;
        Ok(text.lines().filter_map(parse_madison).collect())
    }

    /// Downloads packages and unpacks all of them into one new folder.
    ///
    /// # Errors
    ///
    /// When a download or its verification fails, or the package cannot be unpacked.
    pub fn unpack(&self, packages: &[Candidate]) -> anyhow::Result<TempDir> {
        let downloads = tempfile::tempdir_in(&self.folder)?;
        let names = packages
            .iter()
            .map(|candidate| format!("{}={}", candidate.package, candidate.version));
        command::output(
            self.apt("apt-get")
                .arg("download")
                .args(names)
                .current_dir(downloads.path()),
        )?;
        self.unpack_all(downloads.path())
    }

    /// Downloads the newest versions of packages and of all that they depend on, and unpacks them
    /// into one new folder. Nothing is installed; only for another architecture than this system's.
    ///
    /// # Errors
    ///
    /// As for [`Self::unpack`].
    pub fn unpack_whole(&self, packages: &[&str]) -> anyhow::Result<TempDir> {
        let archives = self.folder.join("cache/archives");
        command::output(
            self.apt("apt-get")
                .args(["install", "--download-only", "--no-install-recommends"])
                .args(["-qq", "--yes"])
                .args(packages),
        )?;
        let unpacked = self.unpack_all(&archives)?;
        fs::remove_dir_all(&archives).context("remove the packages that were unpacked")?;
        Ok(unpacked)
    }

    fn unpack_all(&self, downloads: &Path) -> anyhow::Result<TempDir> {
        let unpacked = tempfile::tempdir_in(&self.folder)?;
        for entry in fs::read_dir(downloads)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                command::output(
                    Command::new("dpkg-deb")
                        .arg("-x")
                        .arg(path)
                        .arg(unpacked.path()),
                )?;
            }
        }
        Ok(unpacked)
    }

    /// Installs packages into the system from this archive.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub fn install(&self, packages: &[String]) -> anyhow::Result<()> {
        command::output(
            self.apt("apt-get")
                .args(["install", "-qq", "--yes", "--no-install-recommends"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
        .map(drop)
    }

    /// apt with this archive's state in place of the system's.
    fn apt(&self, program: &str) -> Command {
        let folder = self.folder.display();
        let mut apt = Command::new(program);
        for option in [
            format!("Dir::Etc::SourceList={folder}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            // The cache may be out of reach for the user that apt would download as.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        if self.arch != Arch::X86_64 {
            let arch = self.arch.debian();
            for option in [
                format!("APT::Architecture={arch}"),
                format!("APT::Architectures={arch}"),
                format!("Dir::State::status={folder}/status"),
            ] {
                apt.arg("-o").arg(option);
            }
        }
        apt
    }
}

/// A sources.list with these suites, from the mirror that this system is configured for.
///
/// # Errors
///
/// When it is configured for none.
pub fn sources(arch: Arch, suites: &[&str]) -> anyhow::Result<String> {
    let mirrors = Mirrors::of_system(Path::new("/etc/apt"))?;
    let arch = arch.debian();
    let line = |suite: &&str| {
        let mirror = mirrors.serving(suite);
        format!("deb [signed-by={KEYRING} arch={arch}] {mirror} {suite} main\n")
    };
    Ok(suites.iter().map(line).collect())
}

/// The newest of some candidates, by dpkg's order of versions.
///
/// # Errors
///
/// When dpkg cannot be run.
pub fn newest(candidates: Vec<Candidate>) -> anyhow::Result<Option<Candidate>> {
    let mut newest: Option<Candidate> = None;
    for candidate in candidates {
        let newer = match &newest {
            None => true,
            Some(newest) => Command::new("dpkg")
                .args(["--compare-versions", &candidate.version, "gt"])
                .arg(&newest.version)
                .status()
                .context("cannot run dpkg")?
                .success(),
        };
        if newer {
            newest = Some(candidate);
        }
    }
    Ok(newest)
}

/// `name | version | where it is from`
fn parse_madison(line: &str) -> Option<Candidate> {
    let mut fields = line.split('|').map(str::trim);
    let (package, version, origin) = (fields.next()?, fields.next()?, fields.next()?);
    (!origin.ends_with("Sources")).then(|| Candidate {
        package: package.to_owned(),
        version: version.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse_madison;

    #[test]
    fn sources_are_no_candidates() {
        let binary =
            parse_madison(" rust-src | 1.95.0+dfsg1-1 | http://x trixie/main amd64 Packages");
        assert_eq!(binary.unwrap().version, "1.95.0+dfsg1-1");
        assert_eq!(
            parse_madison("rustc | 1.95.0 | http://x trixie/main Sources"),
            None
        );
    }
}
