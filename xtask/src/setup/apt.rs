//! A private view of Debian's archive: suites of our choice from the mirror that this system is
//! configured for, apart from the system's own apt state. apt verifies the signatures as always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::command::{self, which};
use crate::paths;

/// Debian's own keys, from the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Some suites of the archive, with lists of their own.
pub struct Archive {
    folder: PathBuf,
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
        fs::write(folder.join("sources.list"), sources(suites)?)?;
        let archive = Self { folder };
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
        let unpacked = tempfile::tempdir_in(&self.folder)?;
        for entry in fs::read_dir(downloads.path())? {
            command::output(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .arg(entry?.path())
                    .arg(unpacked.path()),
            )?;
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
        apt
    }
}

/// A sources.list with these suites, from the mirror that this system is configured for.
///
/// # Errors
///
/// When it is configured for none.
pub fn sources(suites: &[&str]) -> anyhow::Result<String> {
    let mirrors = Mirrors::of_system(Path::new("/etc/apt"))?;
    let line = |suite: &&str| {
        let mirror = mirrors.serving(suite);
        format!("deb [signed-by={KEYRING} arch=amd64] {mirror} {suite} main\n")
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

/// The mirrors of Debian's archive that this system uses.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    /// Reads sources.list and sources.list.d in either format.
    fn of_system(etc: &Path) -> anyhow::Result<Self> {
        let mut files = vec![etc.join("sources.list")];
        if let Ok(entries) = fs::read_dir(etc.join("sources.list.d")) {
            files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        files.sort();
        let mut uris = Vec::new();
        for file in files {
            let extension = file.extension().and_then(|extension| extension.to_str());
            let read = || fs::read_to_string(&file).unwrap_or_default();
            match extension {
                Some("list") => uris.extend(uris_of_lines(&read())),
                Some("sources") => uris.extend(uris_of_stanzas(&read())),
                _ => {}
            }
        }
        Self::among(&uris).with_context(|| {
            let at = etc.join("sources.list.d");
            format!(
                "no mirror of Debian's archive is configured: name one in {}",
                at.display()
            )
        })
    }

    /// Debian's archives are told by the last part of the path, with `.list` in mirror files.
    fn among(uris: &[String]) -> Option<Self> {
        let ending = |name: &str| {
            uris.iter()
                .map(|uri| uri.trim_end_matches('/'))
                .find(|uri| uri.trim_end_matches(".list").rsplit('/').next() == Some(name))
                .map(str::to_owned)
        };
        let main = ending("debian")?;
        let security = ending("debian-security").unwrap_or_else(|| {
            let (base, list) = match main.strip_suffix(".list") {
                Some(base) => (base, ".list"),
                None => (main.as_str(), ""),
            };
            format!("{base}-security{list}")
        });
        Some(Self { main, security })
    }

    fn serving(&self, suite: &str) -> &str {
        if suite.ends_with("-security") {
            &self.security
        } else {
            &self.main
        }
    }
}

/// `deb [options] URI suite component…`
fn uris_of_lines(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("deb "))
        .filter_map(|line| {
            let line = match line.trim_start().strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => line,
            };
            let mut words = line.split_whitespace();
            let uri = words.next()?;
            words.any(|word| word == "main").then(|| uri.to_owned())
        })
        .collect()
}

/// Stanzas of `Key: value`, with `Enabled: no` for those that are switched off.
fn uris_of_stanzas(text: &str) -> Vec<String> {
    let mut uris = Vec::new();
    for stanza in text.split("\n\n") {
        let value = |key: &str| {
            stanza.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
            })
        };
        let has_main = value("Components").is_some_and(|all| all.split(' ').any(|c| c == "main"));
        let enabled = value("Enabled").is_none_or(|enabled| enabled != "no");
        if has_main && enabled {
            let all = value("URIs").unwrap_or_default();
            uris.extend(all.split_whitespace().map(str::to_owned));
        }
    }
    uris
}

#[cfg(test)]
mod tests {
    use super::{Mirrors, parse_madison, uris_of_lines, uris_of_stanzas};

    fn mirrors(main: &str, security: &str) -> Mirrors {
        Mirrors {
            main: main.to_owned(),
            security: security.to_owned(),
        }
    }

    #[test]
    fn mirrors_of_the_old_format() {
        let uris = uris_of_lines(
            "# deb http://off/debian bookworm main\n\
             deb-src http://src/debian bookworm main\n\
             deb https://vendor/linux/debian bookworm stable\n\
             deb [arch=amd64 signed-by=/x] http://near/debian/ bookworm main contrib\n\
             deb http://near/debian-security bookworm-security main\n",
        );
        assert_eq!(
            Mirrors::among(&uris),
            Some(mirrors("http://near/debian", "http://near/debian-security"))
        );
    }

    #[test]
    fn mirrors_of_the_new_format() {
        let uris = uris_of_stanzas(
            "Types: deb\nURIs: http://off/debian\nSuites: x\nComponents: main\nEnabled: no\n\n\
             Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\n\
             Components: main\nSigned-By: /x\n",
        );
        assert_eq!(
            Mirrors::among(&uris),
            Some(mirrors(
                "mirror+file:///etc/apt/mirrors/debian.list",
                "mirror+file:///etc/apt/mirrors/debian-security.list"
            ))
        );
    }

    #[test]
    fn a_system_of_another_kind_has_no_mirror() {
        let uris = uris_of_lines("deb http://near/ubuntu noble main\n");
        assert_eq!(Mirrors::among(&uris), None);
    }

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
