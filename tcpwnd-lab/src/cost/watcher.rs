//! Who watches while something is measured.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::script::{Script, Tracing};
use crate::agent::{Agent, Caps, Launch, Mechanism, Transport};
use crate::scenarios::free_address;
use crate::wait::{self, PATIENCE};

/// Where xtask puts what the agent is compared with (xtask/src/bench/reference.rs).
pub const FOLDER: &str = "/usr/lib/tcpwnd-bench";

/// How long another watcher may take to attach.
const START: Duration = Duration::from_secs(120);

/// Who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watcher {
    /// Nobody.
    Nobody,
    /// `tcpwnd run` by this mechanism.
    Agent(Mechanism),
    /// An object that is loaded with libbpf.
    Object(Object),
    /// bpftrace.
    Script(Script),
}

/// An object of benches/reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object {
    /// What it is called in figures.
    name: &'static str,
    /// The file.
    file: &'static str,
    /// Which of its programs; none means all.
    programs: &'static [&'static str],
    /// Whether it sends a record for each handshake, and none else.
    counts: bool,
}

const fn empty(name: &'static str, program: &'static [&'static str]) -> Watcher {
    Watcher::Object(Object {
        name,
        file: "empty.bpf.o",
        programs: program,
        counts: false,
    })
}

impl Watcher {
    /// The agent by both mechanisms, and what does the same in another way.
    pub const CAPTURES: &'static [Self] = &[
        Self::Nobody,
        Self::Agent(Mechanism::Fentry),
        Self::Agent(Mechanism::Kprobe),
        Self::Object(Object::REFERENCE),
        Self::Object(Object {
            name: "talk",
            file: "talk.bpf.o",
            programs: &[],
            counts: false,
        }),
    ];

    /// bpftrace, with as little and with as much as tells a damaged connection, and the talk's way.
    pub const SCRIPTS: &'static [Self] = &[
        Self::Script(Script {
            name: "bpftrace",
            file: "handshakes.bt",
            lines: Some(1),
        }),
        Self::Script(Script {
            name: "bpftrace evidence",
            file: "evidence.bt",
            lines: Some(3),
        }),
        Self::Script(Script {
            name: "bpftrace talk",
            file: "windows.bt",
            lines: None,
        }),
    ];

    /// What is started: the agent, and what says as much or as little.
    pub const STARTS: &'static [Self] = &[
        Self::CAPTURES[1],
        Self::CAPTURES[2],
        Self::CAPTURES[3],
        Self::SCRIPTS[0],
        Self::SCRIPTS[1],
    ];

    /// Programs that do nothing, one for each way to hook. The first two are on a function at whose entry
    /// the agent has a program, too, by its two mechanisms.
    pub const HOOKS: &'static [Self] = &[
        empty("empty fentry", &["empty_fentry"]),
        empty("empty kprobe", &["empty_kprobe"]),
        empty("empty fexit", &["empty_fexit"]),
        empty("empty kretprobe", &["empty_kretprobe"]),
        empty("empty kprobe.multi", &["empty_kprobe_multi"]),
        empty("empty kretprobe.multi", &["empty_kretprobe_multi"]),
        empty("empty raw tracepoint", &["empty_raw_tracepoint"]),
        Self::Nobody,
    ];

    /// What it is called in figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Agent(mechanism) => mechanism.name(),
            Self::Object(object) => object.name,
            Self::Script(script) => script.name,
        }
    }

    /// Whether it is here: what the agent is compared with need not be.
    pub fn is_here(self) -> bool {
        match self {
            Self::Nobody | Self::Agent(_) => true,
            Self::Object(object) => Path::new(FOLDER).join(object.file).exists(),
            Self::Script(script) => script.is_here(),
        }
    }

    /// Starts, and returns when it watches.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(self) -> Result<Watching> {
        Ok(match self {
            Self::Nobody => Watching::Nobody,
            Self::Agent(mechanism) => Watching::Agent(start_agent(mechanism, free_address()?)?),
            Self::Object(object) => Watching::Object(object, object.start()?),
            Self::Script(script) => Watching::Script(script.start()?),
        })
    }
}

impl Object {
    /// The same capture as the agent's, in C.
    pub const REFERENCE: Self = Self {
        name: "c",
        file: "reference.bpf.o",
        programs: &[],
        counts: true,
    };

    /// Starts, with everything that is sent written to a file.
    ///
    /// # Errors
    /// When it does not start.
    pub fn record(self, file: &Path) -> Result<Watching> {
        let loader = self.loader(&[("RECORDS", file)])?;
        Ok(Watching::Object(self, loader))
    }

    fn start(&self) -> Result<Child> {
        self.loader(&[])
    }

    fn loader(&self, variables: &[(&str, &Path)]) -> Result<Child> {
        let folder = tempfile::tempdir().context("failed to make a directory")?;
        let ready = folder.path().join("ready");
        let mut child = Command::new(format!("{FOLDER}/loader"))
            .arg(format!("{FOLDER}/{}", self.file))
            .arg(&ready)
            .args(self.programs)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the loader")?;
        wait::until_true(START, "the loader to attach its programs", || {
            let ended = child
                .try_wait()
                .context("failed to look after the loader")?;
            ensure!(ended.is_none(), "the loader of {} ended at once", self.file);
            Ok(ready.exists())
        })?;
        Ok(child)
    }
}

/// Starts `tcpwnd run` with everything at its default.
///
/// # Errors
/// When it does not start.
pub fn start_agent(mechanism: Mechanism, listen: SocketAddr) -> Result<Agent> {
    let launch = Launch {
        mechanism,
        transport: Transport::Auto,
        caps: Caps::All,
    };
    launch.serve(listen, &["-v"])
}

/// Starts `tcpwnd trace`, which puts damaged connections under watch.
///
/// # Errors
/// When it does not start.
pub fn start_trace() -> Result<Agent> {
    let launch = Launch {
        mechanism: Mechanism::Auto,
        transport: Transport::Auto,
        caps: Caps::All,
    };
    launch.trace("9092", &[])
}

/// A watcher that watches.
pub enum Watching {
    /// Nobody.
    Nobody,
    /// The agent.
    Agent(Agent),
    /// An object's loader.
    Object(Object, Child),
    /// bpftrace.
    Script(Tracing),
}

impl Watching {
    /// Ends it.
    ///
    /// # Errors
    /// When it says that it saw anything but `handshakes` sound handshakes, or lost any.
    pub fn end(self, handshakes: usize) -> Result<()> {
        match self {
            Self::Nobody => Ok(()),
            Self::Agent(agent) => end_agent(agent, handshakes),
            Self::Object(object, child) => object.end(child, handshakes),
            Self::Script(tracing) => tracing.end(handshakes),
        }
    }
}

fn end_agent(agent: Agent, handshakes: usize) -> Result<()> {
    let books = books(agent)?;
    let sound = books.iter().all(|(column, count)| match column.as_str() {
        "handshakes" => *count == handshakes as u64,
        _ => *count == 0,
    });
    ensure!(
        sound && books.len() > 1,
        "of {handshakes} sound handshakes tcpwnd saw {books:?}"
    );
    Ok(())
}

/// Ends an agent, and returns the books that it closes with, by column.
///
/// # Errors
/// When it fails, or does not say.
pub fn books(agent: Agent) -> Result<BTreeMap<String, u64>> {
    let said = agent.stop()?;
    let last = said.lines().find_map(|line| line.split_once("stopped: "));
    let (_, books) = last.context("tcpwnd did not say what it saw")?;
    let column = |text: &str| {
        let (count, column) = text.split_once(' ')?;
        Some((column.to_owned(), count.parse().ok()?))
    };
    let columns = books.split(", ").map(column).collect::<Option<_>>();
    columns.with_context(|| format!("these are no books: {books}"))
}

impl Object {
    fn end(&self, mut child: Child, handshakes: usize) -> Result<()> {
        // SAFETY: takes no pointer; the child has not been waited for, so the id is its own.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        wait::until_true(PATIENCE, "the loader to end", || {
            let ended = child
                .try_wait()
                .context("failed to look after the loader")?;
            Ok(ended.is_some())
        })?;
        let output = child
            .wait_with_output()
            .context("the loader said nothing")?;
        let records = String::from_utf8_lossy(&output.stdout);
        ensure!(
            !self.counts || records.trim() == handshakes.to_string(),
            "{} sent {} records of {handshakes} handshakes",
            self.file,
            records.trim()
        );
        Ok(())
    }
}
