//! Which mirrors of Debian's archive this system is configured for.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// The mirrors of Debian's archive that this system uses.
#[derive(Debug, PartialEq, Eq)]
pub struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    /// Reads sources.list and sources.list.d in either format.
    ///
    /// # Errors
    ///
    /// When they name no mirror.
    pub fn of_system(etc: &Path) -> anyhow::Result<Self> {
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

    /// The one that has a suite.
    pub fn serving(&self, suite: &str) -> &str {
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
    use super::{Mirrors, uris_of_lines, uris_of_stanzas};

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
}
