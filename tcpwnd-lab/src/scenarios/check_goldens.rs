//! What `check` prints on hosts of all kinds, compared with goldens, word for word: on a good host,
//! beside a Kafka broker with its defaults, without SYN cookies, without root; and where it is
//! refused something: on a kernel without type information, and where
//! `kernel.perf_event_paranoid` is 3.
//!
//! `cargo xtask vm exec --kernel K -- tcpwnd-lab check-golden CASE` prints a golden anew.
//!
//! Hosts on which nothing can be had at all are `nowhere`'s.
//!
//! Constraint: what differs from machine to machine is set to one value before, in this process'
//! own namespaces, and netfilter's SYN proxy, which is probed where it is, is loaded; only the
//! kernel's release and its landlock, the broker's number and the map that is refused are replaced
//! afterwards, and the one setting that newer kernels do not heed. It runs before anything that could
//! make the machine's own namespace count something.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::unlocked;
use crate::agent::{Caps, Launch, Mechanism, Transport};
use crate::confined;
use crate::mounts::with_mounts;
use crate::net::{Changed, run};
use crate::socket::ListenOptions;
use crate::stand_in::KafkaStandIn;

/// What stands for the kernel's release in a golden, and for what `check` says of landlock.
pub const RELEASE: &str = "RELEASE";
const LANDLOCK: &str = "LANDLOCK";

/// Before the name of a map that cannot be had.
const REFUSED: &str = "failed to load the kernel programs: map ";

/// What stands for the broker's number: a number, as the schema wants it.
const PID: u32 = 812;

/// A setting that newer kernels do not heed, in the goldens and on older kernels.
const NOT_HEEDED: &str = "\"tcp_adv_win_scale\": null";
const HEEDED: &str = "\"tcp_adv_win_scale\": 1";

const COOKIES: &str = "net/ipv4/tcp_syncookies";
const PARANOID: &str = "kernel/perf_event_paranoid";

/// Where the kernel shows its own types.
const BTF: &str = "/sys/kernel/btf";

/// The settings that `check` assesses, each with a value that is in order, and those on which
/// depends what it is refused.
const SETTINGS: [(&str, &str); 10] = [
    (COOKIES, "1"),
    ("net/ipv4/tcp_timestamps", "1"),
    ("net/ipv4/tcp_window_scaling", "1"),
    ("net/core/somaxconn", "4096"),
    ("net/ipv4/tcp_max_syn_backlog", "4096"),
    ("net/ipv4/tcp_rmem", "4096 131072 6291456"),
    ("net/ipv4/tcp_adv_win_scale", "1"),
    ("net/core/rmem_max", "212992"),
    (PARANOID, "2"),
    ("kernel/unprivileged_bpf_disabled", "2"),
];

/// Where `check` runs, and how it ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// A good host: a broker with a long queue and without SO_RCVBUF.
    GoodHost,
    /// A broker with Kafka's defaults.
    KafkaDefaults,
    /// The same while tcp_syncookies is 0.
    SyncookiesOff,
    /// A broker with Kafka's defaults, seen by a user without privileges.
    WithoutRoot,
    /// A kernel that shows no BTF.
    WithoutBtf,
    /// kprobes, with the service's capabilities, while kernel.perf_event_paranoid is 3.
    Paranoid,
    /// The way out of it that `check` names: fentry.
    ParanoidFentry,
    /// A kernel in lockdown; this one has to be.
    LockedDown,
    /// A kernel built without bpf(2); this one has to be.
    WithoutBpf,
    /// A kernel built with bpf(2), and nothing that traces; this one has to be.
    WithoutTracing,
}

/// What is so in a case.
struct Setting {
    launch: Launch,
    broker: Option<ListenOptions>,
    changed: Option<(&'static str, &'static str)>,
}

impl Case {
    fn setting(self) -> Setting {
        let defaults = Some(ListenOptions::default());
        let sound = Some(ListenOptions {
            backlog: 4_096,
            ..unlocked()
        });
        let paranoid = Some((PARANOID, "3"));
        let (caps, mechanism, broker, changed) = match self {
            Self::GoodHost => (Caps::All, Mechanism::Auto, sound, None),
            Self::KafkaDefaults => (Caps::All, Mechanism::Auto, defaults, None),
            Self::SyncookiesOff => (Caps::All, Mechanism::Auto, defaults, Some((COOKIES, "0"))),
            Self::WithoutRoot => (Caps::None, Mechanism::Auto, defaults, None),
            Self::WithoutBtf => (Caps::All, Mechanism::Auto, None, None),
            Self::Paranoid => (Caps::Service, Mechanism::Kprobe, None, paranoid),
            Self::ParanoidFentry => (Caps::Service, Mechanism::Fentry, None, paranoid),
            Self::LockedDown | Self::WithoutBpf | Self::WithoutTracing => {
                (Caps::All, Mechanism::Auto, None, None)
            }
        };
        Setting {
            launch: Launch {
                mechanism,
                transport: Transport::Auto,
                caps,
            },
            broker,
            changed,
        }
    }
}

/// A case, its exit code, and its goldens: the text and the JSON.
pub struct Golden {
    case: Case,
    code: i32,
    pub text: &'static str,
    json: &'static str,
}

macro_rules! golden {
    ($case:ident, $code:literal, $name:literal) => {
        Golden {
            case: Case::$case,
            code: $code,
            text: include_str!(concat!("../../golden/check/", $name, ".txt")),
            json: include_str!(concat!("../../golden/check/", $name, ".json")),
        }
    };
}

const GOLDENS: [Golden; 7] = [
    golden!(GoodHost, 0, "good_host"),
    golden!(KafkaDefaults, 0, "kafka_defaults"),
    golden!(SyncookiesOff, 0, "syncookies_off"),
    golden!(WithoutRoot, 2, "without_root"),
    golden!(WithoutBtf, 2, "without_btf"),
    golden!(Paranoid, 2, "perf_event_paranoid_3"),
    golden!(ParanoidFentry, 0, "perf_event_paranoid_3_fentry"),
];

/// Where nothing can be had.
pub const LOCKED_DOWN: Golden = golden!(LockedDown, 2, "locked_down");
pub const WITHOUT_BPF: Golden = golden!(WithoutBpf, 2, "without_bpf");
pub const WITHOUT_TRACING: Golden = golden!(WithoutTracing, 2, "without_tracing");

impl Golden {
    /// `check` says this here, and ends so.
    ///
    /// # Errors
    /// When it does not.
    pub fn holds(&self, bench: &Bench) -> Result<()> {
        // In the kernels of the matrix the same ones scale windows by it. Without BTF it is not known.
        let shows_btf = !matches!(
            self.case,
            Case::WithoutBtf | Case::WithoutBpf | Case::WithoutTracing
        );
        let of_kernel = if shows_btf && bench.rcvlowat_sets_clamp()? {
            self.json.replace(NOT_HEEDED, HEEDED)
        } else {
            self.json.to_owned()
        };
        for (json, expected) in [(false, self.text), (true, &of_kernel)] {
            let (said, code) = check(self.case, json)?;
            ensure!(
                code == Some(self.code) && said == expected,
                "{:?} ended with {code:?} instead of {}; {}",
                self.case,
                self.code,
                difference(expected, &said)
            );
        }
        Ok(())
    }
}

pub fn play(bench: &Bench) -> Result<String> {
    for golden in &GOLDENS {
        golden.holds(bench)?;
    }
    Ok(format!(
        "{} cases, text and JSON, word for word",
        GOLDENS.len()
    ))
}

/// Runs `check`, and returns what it printed with what is of this kernel alone replaced, and its
/// exit code.
///
/// # Errors
/// When the case cannot be had here.
pub fn check(case: Case, json: bool) -> Result<(String, Option<i32>)> {
    let _proxy = SynProxy::load();
    let settings: Result<Vec<_>> = SETTINGS
        .iter()
        .filter(|(name, _)| !is_of_what_is_missing(name))
        .map(|(name, value)| Changed::new(name, value))
        .collect();
    let _settings = settings?;
    let setting = case.setting();
    let changed = setting.changed;
    // Put back before the one that it was changed from.
    let _changed = changed
        .map(|(name, value)| Changed::new(name, value))
        .transpose()?;
    let broker = setting.broker.as_ref().map(KafkaStandIn::start);
    let broker = broker.transpose()?;
    let (said, code) = if case == Case::WithoutBtf {
        let empty = tempfile::tempdir().context("failed to make a directory")?;
        with_mounts(&[(empty.path(), Path::new(BTF))], || {
            check_with(&setting.launch, json)
        })?
    } else {
        check_with(&setting.launch, json)?
    };
    Ok((without_pid(&said, broker.as_ref(), json), code))
}

/// Whether a setting is one of perf or BPF, in a kernel that was built without.
fn is_of_what_is_missing(name: &str) -> bool {
    name.starts_with("kernel/") && !Path::new("/proc/sys").join(name).exists()
}

fn check_with(launch: &Launch, json: bool) -> Result<(String, Option<i32>)> {
    let format = if json { "json" } else { "text" };
    let mechanism = launch.mechanism.name();
    let arguments = ["check", "--format", format, "--mechanism", mechanism];
    let done = launch.command(&arguments).output();
    let done = done.context("failed to start tcpwnd")?;
    let said = String::from_utf8(done.stdout).context("check printed no text")?;
    let said = if json { lines_of(&said)? } else { said };
    let said = said.replace(&release()?, RELEASE);
    let said = said.replace(&landlock()?, LANDLOCK);
    Ok((without_map(&said), done.status.code()))
}

/// Puts a word in the place of the map that the kernel refused: which one is the first is chance.
fn without_map(said: &str) -> String {
    let Some((before, after)) = said.split_once(REFUSED) else {
        return said.to_owned();
    };
    let rest =
        after.trim_start_matches(|letter: char| letter.is_ascii_uppercase() || letter == '_');
    format!("{before}{REFUSED}MAP{rest}")
}

/// Puts another number in the place of the broker's.
fn without_pid(said: &str, broker: Option<&KafkaStandIn>, json: bool) -> String {
    let Some(pid) = broker.map(KafkaStandIn::pid) else {
        return said.to_owned();
    };
    let shown = |pid| {
        if json {
            format!("\"pid\": {pid}\n")
        } else {
            format!("pid {pid})")
        }
    };
    said.replace(&shown(pid), &shown(PID))
}

/// An object over many lines, its fields by name.
fn lines_of(json: &str) -> Result<String> {
    let value: serde_json::Value =
        serde_json::from_str(json).with_context(|| format!("no JSON: {json}"))?;
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

/// The kernel's release.
///
/// # Errors
/// When it cannot be read.
pub fn release() -> Result<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("failed to read the kernel's release")?;
    Ok(release.trim_end().to_owned())
}

/// What `check` says of landlock, from what the kernel answers when it is asked here.
fn landlock() -> Result<String> {
    Ok(match confined::landlock()? {
        Ok(kind) => format!("supported: {kind}"),
        Err(why) => format!("unsupported: {why}"),
    })
}

/// netfilter's SYN proxy, while this is there.
struct SynProxy;

impl SynProxy {
    fn load() -> Self {
        // Where it is built in there is no module. The goldens tell.
        let _ = run("modprobe nf_synproxy_core");
        Self
    }
}

impl Drop for SynProxy {
    fn drop(&mut self) {
        // It fails where it is built in, and while something uses it, which then goes on with it.
        let _ = run("modprobe -r nf_synproxy_core");
    }
}

/// The first line that differs.
fn difference(expected: &str, said: &str) -> String {
    let (mut one, mut other) = (expected.lines(), said.lines());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return "no line differs".to_owned(),
            (one, other) if one == other => {}
            (one, other) => return format!("expected {one:?}, but said {other:?}"),
        }
    }
}
