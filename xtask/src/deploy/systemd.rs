//! The unit and its drop-in, as systemd reads them: in a root of their own, so that nothing on
//! this host has a say.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use super::{Answer, file};
use crate::build;
use crate::command::{self, which};

/// Exposure by systemd's count, in tenths, that the unit must stay within.
const THRESHOLD: &str = "--threshold=25";

/// `security --offline` came with 250.
const OLDEST: u32 = 250;

/// What `%S` stands for in the unit of a system's service.
const STATE: &str = "/var/lib";

const UNIT: &str = "tcpwnd.service";
const DROP_IN: &str = "old-kernels.conf";

/// Units that a service refers to without being asked.
const OTHERS: [&str; 5] = [
    "sysinit.target",
    "basic.target",
    "shutdown.target",
    "network.target",
    "multi-user.target",
];

/// The unit by itself.
pub fn unit() -> anyhow::Result<Answer> {
    check(false)
}

/// The unit together with the drop-in for old kernels.
pub fn with_drop_in() -> anyhow::Result<Answer> {
    check(true)
}

/// What the unit's agent has in its environment, as a system's service.
fn environment(text: &str) -> impl Iterator<Item = (String, String)> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.replace("%S", STATE)))
    })
}

/// The agent takes what the unit tells it.
pub fn command_line() -> anyhow::Result<Answer> {
    let text = fs::read_to_string(file("systemd").join(UNIT))?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("ExecStart=/usr/bin/tcpwnd "));
    let line = line.context("the unit does not start /usr/bin/tcpwnd")?;
    let agent = build::run()?.agent;
    let printed = command::output(
        Command::new(agent)
            .args(line.split(' '))
            .arg("--print-config")
            .env_clear()
            .envs(environment(&text)),
    )?;
    // So says the unit's first line.
    let listen = "TCPWND_LISTEN=127.0.0.1:10435\n";
    ensure!(printed.contains(listen), "it printed {printed:?}");
    // A folder that outlives the agent and the boot, for nothing else.
    let folder = text
        .lines()
        .find_map(|line| line.strip_prefix("StateDirectory="));
    let folder = folder.context("the unit has no folder for the state file")?;
    let state = format!("TCPWND_STATE_FILE={STATE}/{folder}/state.json\n");
    ensure!(printed.contains(&state), "it printed {printed:?}");
    Ok(Answer::Held)
}

fn check(with_drop_in: bool) -> anyhow::Result<Answer> {
    if which("systemd-analyze").is_none() {
        return Ok(Answer::Skipped("there is no systemd-analyze".to_owned()));
    }
    let printed = command::output(Command::new("systemd-analyze").arg("--version"))?;
    let version = version(&printed).context("systemd-analyze does not say its version")?;
    if version < OLDEST {
        let reason = format!("systemd-analyze is of systemd {version}, {OLDEST} is needed");
        return Ok(Answer::Skipped(reason));
    }
    let root = root(with_drop_in)?;
    let verify = analyze(root.path(), &["verify", "--man=no"])?;
    // What systemd does not know it ignores, with a warning and success.
    if !verify.status.success() || !verify.stderr.is_empty() {
        bail!("verify: {}", String::from_utf8_lossy(&verify.stderr).trim());
    }
    let security = analyze(
        root.path(),
        &["security", "--no-pager", "--offline=yes", THRESHOLD],
    )?;
    let table = String::from_utf8_lossy(&security.stdout);
    if !security.status.success() {
        let open: Vec<_> = table
            .lines()
            .filter(|line| !line.starts_with('✓'))
            .collect();
        bail!("security {THRESHOLD}: {}", open.join("\n"));
    }
    let granted = table.contains("Service has administrator privileges");
    if granted != with_drop_in {
        bail!("CAP_SYS_ADMIN in the bounding set: {granted}, with the drop-in: {with_drop_in}");
    }
    Ok(Answer::Held)
}

/// A file system with what the unit refers to.
fn root(with_drop_in: bool) -> anyhow::Result<TempDir> {
    let root = tempfile::tempdir()?;
    let units = root.path().join("etc/systemd/system");
    let programs = root.path().join("usr/bin");
    let drop_ins = units.join(format!("{UNIT}.d"));
    for folder in [&programs, &drop_ins] {
        fs::create_dir_all(folder)?;
    }
    for other in OTHERS {
        fs::write(
            units.join(other),
            "[Unit]\nDescription=Stands for the real one\n",
        )?;
    }
    // Where packages put it; anything that can be executed will do.
    fs::copy(std::env::current_exe()?, programs.join("tcpwnd"))?;
    let copy = |name: &str, to: &Path| {
        fs::copy(file("systemd").join(name), to.join(name)).with_context(|| format!("copy {name}"))
    };
    copy(UNIT, &units)?;
    if with_drop_in {
        copy(DROP_IN, &drop_ins)?;
    }
    Ok(root)
}

fn analyze(root: &Path, arguments: &[&str]) -> anyhow::Result<Output> {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(format!("--root={}", root.display()))
        .arg(UNIT)
        .env("SYSTEMD_COLORS", "0")
        .output()
        .context("cannot run systemd-analyze")
}

/// `systemd 252 (252.38-1~deb12u1)`
fn version(printed: &str) -> Option<u32> {
    let number = printed
        .strip_prefix("systemd ")?
        .split([' ', '.', '~', '-']);
    number.map(str::trim).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{DROP_IN, UNIT, file, version};

    #[test]
    fn version_as_distributions_print_it() {
        assert_eq!(version("systemd 252 (252.38-1~deb12u1)\n+PAM"), Some(252));
        assert_eq!(version("systemd 257.9 (257.9-2)\n"), Some(257));
        assert_eq!(version("systemd 260~rc1\n"), Some(260));
        assert_eq!(version("elogind 252"), None);
    }

    /// What the agent needs to confine itself, which is in none of systemd's own lists (252).
    #[test]
    fn the_agent_may_confine_itself() {
        let text = fs::read_to_string(file("systemd").join(UNIT)).unwrap();
        let filters = text
            .lines()
            .filter_map(|line| line.strip_prefix("SystemCallFilter="));
        let allowed: Vec<_> = filters.flat_map(|list| list.split(' ')).collect();
        for call in [
            "seccomp",
            "landlock_create_ruleset",
            "landlock_add_rule",
            "landlock_restrict_self",
        ] {
            assert!(allowed.contains(&call), "{call} is not in {allowed:?}");
        }
    }

    /// What somebody can use up who has taken it over. The memory is the chart's.
    #[test]
    fn what_it_may_use_is_bounded() {
        let text = fs::read_to_string(file("systemd").join(UNIT)).unwrap();
        for line in ["MemoryMax=256M", "TasksMax=16", "LimitFSIZE=64M"] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        let values = fs::read_to_string(file("helm/tcpwnd/values.yaml")).unwrap();
        assert!(
            values.contains("  limits:\n    memory: 256Mi\n"),
            "{values}"
        );
    }

    /// systemd-analyze accepts any name of a capability without a word.
    #[test]
    fn capabilities_are_those_that_the_agent_knows() {
        for (name, expected) in [(UNIT, "CAP_BPF CAP_PERFMON"), (DROP_IN, "CAP_SYS_ADMIN")] {
            let text = fs::read_to_string(file("systemd").join(name)).unwrap();
            for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
                let values: Vec<_> = text
                    .lines()
                    .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                    .collect();
                assert_eq!(values, [expected], "{key} in {name}");
            }
        }
    }
}
