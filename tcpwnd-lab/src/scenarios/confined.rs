//! `tcpwnd run` confines itself, and does its work like that: pages, findings with names, a crowd, a
//! stop and a stop for good, and no system call of it is refused meanwhile.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, Unsupported};
use super::open_now::free_address;
use super::stage::Stage;
use crate::agent::{Agent, Caps};
use crate::confined::{Denials, Status, landlock, threads};
use crate::http::{get, metric};
use crate::net::run;
use crate::wait::{self, PATIENCE};

/// Sound connections, then damaged ones, then HTTP clients that stay.
const SOUND: u16 = 100;
const DAMAGED: u16 = 40;
const CROWD: usize = 80;

/// CAP_PERFMON and CAP_BPF, beyond which the service's processes get nothing; to take these away too
/// takes CAP_SETPCAP.
const OF_SERVICE: u64 = 3 << 38;

const NAME: &str = "tcpwnd-confined";

pub fn play(bench: &Bench) -> Result<String> {
    let denials = match Denials::record() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let reason = format!("this kernel does not tell what filters refuse: {error}");
            return Err(Unsupported(reason).into());
        }
        denials => denials.context("failed to trace what filters refuse")?,
    };
    denials.prove()?;
    let stage = Stage::with_cookies()?;
    let bounding = if bench.launch.caps == Caps::All {
        0
    } else {
        OF_SERVICE
    };
    let (mut agent, listen) = start(bench, &[])?;
    let confined = Status {
        capabilities: 0,
        bounding,
        no_new_privs: 1,
        seccomp: 2,
    };
    holds(&agent, &confined)?;
    // It was not there when the agent was confined.
    let _named = Named::new(&stage.server.path())?;
    busy(&stage, &mut agent, listen)?;
    holds(&agent, &confined)?;
    let process = agent.id();
    agent.signal(libc::SIGTERM)?;
    let (lines, code, said) = agent.end()?;
    ensure!(code == 0, "tcpwnd ended with {code}: {said}");
    let denied = denials.take()?;
    let of_agent: Vec<_> = denied.iter().filter(|one| one.thread == process).collect();
    ensure!(of_agent.is_empty(), "it was refused calls: {of_agent:?}");
    let told = announced(&said)?;
    names(&lines)?;

    let (mut agent, _) = start(bench, &["--no-sandbox"])?;
    let open = Status {
        seccomp: 0,
        ..confined
    };
    holds(&agent, &open)?;
    agent.signal(libc::SIGTERM)?;
    let (_, code, said) = agent.end()?;
    ensure!(
        code == 0 && said.contains("\ntcpwnd: not confined by landlock: --no-sandbox\n"),
        "tcpwnd ended with {code}: {said}"
    );
    root_keeps_no_state(bench)?;
    Ok(format!("{told}; no call refused"))
}

/// Root without landlock makes no file, not even that one.
fn root_keeps_no_state(bench: &Bench) -> Result<()> {
    if bench.launch.caps != Caps::All || landlock()?.is_ok() {
        return Ok(());
    }
    let folder = tempfile::tempdir().context("failed to make a directory")?;
    let file = folder.path().join("state.json");
    fs::write(&file, "").context("failed to make a file")?;
    let path = file.to_str().context("an odd path")?;
    let (mut agent, _) = start(bench, &["--state-file", path])?;
    agent.signal(libc::SIGTERM)?;
    let (_, code, said) = agent.end()?;
    ensure!(
        code == 0 && said.contains("\ntcpwnd: no state is kept: ") && !file.exists(),
        "it was to remove {path} and to say so; it ended with {code}: {said}"
    );
    Ok(())
}

fn start(bench: &Bench, more: &[&str]) -> Result<(Agent, SocketAddr)> {
    let listen = free_address()?;
    let text = listen.to_string();
    let mechanism = bench.launch.mechanism.name();
    let all = [
        "run",
        "--port",
        "9092",
        "--format",
        "json",
        "--log-limit",
        "0",
    ];
    let options = ["--listen", &text, "--mechanism", mechanism];
    let agent = bench.launch.start(&[&all[..], &options, more].concat())?;
    // It answers once it is confined.
    get(listen, "/readyz")?;
    Ok((agent, listen))
}

/// Every thread of it is as it should be.
fn holds(agent: &Agent, expected: &Status) -> Result<()> {
    let threads = threads(agent.id())?;
    ensure!(
        !threads.is_empty() && threads.iter().all(|thread| thread == expected),
        "not every thread is {expected:?}: {threads:?}"
    );
    Ok(())
}

/// What happens to an agent in its life.
fn busy(stage: &Stage, agent: &mut Agent, listen: SocketAddr) -> Result<()> {
    for number in 1..=SOUND {
        stage.peer(number).connect()?;
        if number % 10 == 0 {
            get(listen, "/metrics")?;
        }
    }
    let mut damaged = stage.damaged(SOUND + 1..=SOUND + DAMAGED)?;
    agent.wait_handshakes(DAMAGED.into())?;
    let crowd: Result<Vec<_>, _> = (0..CROWD).map(|_| TcpStream::connect(listen)).collect();
    let crowd = crowd.context("failed to connect")?;
    for page in ["/", "/healthz", "/api/v1/findings?port=9092"] {
        get(listen, page)?;
    }
    drop(crowd);
    // Whoever is stopped goes on with what it was waiting for (restart_syscall(2)).
    agent.signal(libc::SIGSTOP)?;
    agent.signal(libc::SIGCONT)?;
    for peer in &mut damaged {
        peer.reset()?;
    }
    agent.wait_kind("closed", DAMAGED.into())?;
    let page = get(listen, "/metrics")?;
    for (layer, holds) in [("seccomp", true), ("landlock", landlock()?.is_ok())] {
        let label = format!("layer=\"{layer}\"");
        let told = metric(&page, "tcpwnd_confined", &[&label])?;
        ensure!(
            told == f64::from(u8::from(holds)),
            "tcpwnd_confined of {layer} is {told}"
        );
    }
    let all = f64::from(SOUND + DAMAGED);
    wait::until_true(PATIENCE, "the agent to count everything", || {
        Ok(metric(&get(listen, "/metrics")?, "tcpwnd_handshakes_total", &[])? == all)
    })?;
    // What it reads of itself and of its programs.
    for name in [
        "process_open_fds",
        "process_max_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "tcpwnd_probe_missed_runs_total",
    ] {
        metric(&page, name, &[])?;
    }
    Ok(())
}

/// What it said of its confinement, which has to be what this kernel has.
fn announced(said: &str) -> Result<String> {
    let in_one = "tcpwnd: confined: no capabilities, no_new_privs, seccomp filter";
    let (expected, gap) = match landlock()? {
        Ok(kind) => (format!("{in_one}, landlock {kind}"), None),
        Err(why) => {
            let gap = format!("tcpwnd: not confined by landlock: unsupported: {why}");
            (in_one.to_owned(), Some(gap))
        }
    };
    let mut lines = said.lines();
    let found = lines.find(|line| line.starts_with("tcpwnd: confined: "));
    let next = lines.next().filter(|line| line.contains("not confined"));
    ensure!(
        found == Some(&expected) && next == gap.as_deref(),
        "it was to say {expected:?} and {gap:?}: {said}"
    );
    let told = expected.strip_prefix("tcpwnd: confined: ");
    Ok(told.unwrap_or_default().to_owned())
}

/// Every finding has its listener's cgroup and the name of its namespace.
fn names(lines: &[String]) -> Result<()> {
    let findings = lines
        .iter()
        .filter(|line| line.contains("\"kind\":\"handshake\""));
    let named = format!("\"netns_name\":\"{NAME}\"");
    for line in findings {
        ensure!(
            line.contains(&named) && line.contains("\"cgroup\":\"/"),
            "the namespace or the cgroup is not named: {line}"
        );
    }
    Ok(())
}

/// A name for a namespace, as `ip netns` keeps it.
struct Named(String);

impl Named {
    fn new(namespace: &str) -> Result<Self> {
        let path = format!("/run/netns/{NAME}");
        fs::create_dir_all("/run/netns").context("failed to make a folder")?;
        fs::write(&path, "").with_context(|| format!("failed to make {path}"))?;
        let named = Self(path);
        run(&format!("mount --bind {namespace} {}", named.0))?;
        Ok(named)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // It fails where nothing was mounted yet.
        let _ = run(&format!("umount {}", self.0));
        let _ = fs::remove_file(&self.0);
    }
}
