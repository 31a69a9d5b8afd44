//! Who listens: processes in cgroups as container runtimes and systemd make them, in namespaces
//! with and without a name. Every client is the laboratory itself, which runs whenever a packet
//! arrives, and is never named for it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::PORT;
use crate::agent::{Agent, Caps, Report};
use crate::cgroup::Cgroup;
use crate::client::Client;
use crate::findings::{Handshake, Owner, Process};
use crate::net::{Namespace, run};
use crate::socket::{self, ListenOptions};
use crate::wait::{self, PATIENCE};

const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "8d2a7e4c-5b1f-4c3d-9e8f-0a1b2c3d4e5f";
const NAME: &str = "tcpwnd-who";

/// Ports: of both that share one, of the socket with two owners, of the one whose cgroup is
/// removed, of the one whose process ends.
const SHARED: u16 = PORT;
const TWO_OWNERS: u16 = PORT + 1;
const REMOVED: u16 = PORT + 2;
const ENDED: u16 = PORT + 3;

pub fn play(bench: &Bench) -> Result<String> {
    let of_pod = format!(
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{CONTAINER}.scope",
        POD.replace('-', "_")
    );
    let (in_pod, in_unit) = (
        Cgroup::new(&of_pod)?,
        Cgroup::new("system.slice/kafka.service")?,
    );
    let removed = Cgroup::new("system.slice/removed.service")?;
    let (named, plain) = (Named::new()?, Namespace::new()?);
    let programs = tempfile::tempdir().context("failed to make a directory")?;
    let java = programs.path().join("java");
    let ours = std::env::current_exe().context("failed to look at this program")?;
    symlink(ours, &java).context("failed to make a link")?;

    let mut agent = bench.launch.trace("9092-9095", &[])?;
    let pod = Listening::start(&java, &in_pod, &plain, SHARED)?;
    let unit = Listening::start(&java, &in_unit, &named.namespace, SHARED)?;
    let two = TwoOwners::start(&plain, TWO_OWNERS)?;
    let moved = Listening::start(&java, &removed, &plain, REMOVED)?;
    let ended = Listening::start(&java, &in_unit, &plain, ENDED)?;

    visit(&plain, TWO_OWNERS)?;
    listening(&plain, REMOVED)?;
    removed.remove(moved.0.id())?;
    visit(&plain, REMOVED)?;
    visit(&plain, SHARED)?;
    visit(&named.namespace, SHARED)?;
    agent.wait_handshakes(4)?;
    stopped(&agent)?;
    let client = visit(&plain, ENDED)?;
    drop((ended, client));
    agent.signal(libc::SIGCONT)?;
    agent.wait_handshakes(5)?;
    let report = agent.finish()?;

    let seen = Seen {
        report: &report,
        processes: bench.launch.caps == Caps::All,
    };
    let java = |listening: &Listening| Process {
        pid: listening.0.id(),
        name: "java".to_owned(),
        others: 0,
    };
    let at = seen.at(&plain, SHARED)?;
    seen.process(at, Some(java(&pod)))?;
    is_in(
        at,
        Some(&format!("/{of_pod}")),
        (Some(CONTAINER), Some(POD), None),
    )?;
    let at = seen.at(&named.namespace, SHARED)?;
    seen.process(at, Some(java(&unit)))?;
    let kafka = Some("kafka.service");
    is_in(at, Some("/system.slice/kafka.service"), (None, None, kafka))?;
    let at = seen.at(&plain, TWO_OWNERS)?;
    seen.process(at, Some(two.process()?))?;
    is_in(at, Some("/"), (None, None, None))?;
    // Where the process has gone to since is not where the listener was made.
    let at = seen.at(&plain, REMOVED)?;
    seen.process(at, Some(java(&moved)))?;
    is_in(at, None, (None, None, None))?;
    let at = seen.at(&plain, ENDED)?;
    seen.process(at, None)?;
    is_in(at, Some("/system.slice/kafka.service"), (None, None, kafka))?;
    names(&report, &named.namespace)?;
    Ok("5 listeners: 4 by process, 3 by cgroup; no client named".to_owned())
}

/// What an agent said, and whether it may look into other users' processes.
struct Seen<'a> {
    report: &'a Report,
    processes: bool,
}

impl Seen<'_> {
    /// The one handshake with a listener.
    fn at(&self, namespace: &Namespace, port: u16) -> Result<&Handshake> {
        let inode = namespace.inode()?;
        let mut found = self.report.handshakes.iter().filter(|handshake| {
            handshake.flow.netns == inode && handshake.flow.local.address().port() == port
        });
        let first = found.next();
        ensure!(
            found.next().is_none(),
            "more than one handshake with :{port}"
        );
        first.with_context(|| format!("no handshake with :{port}"))
    }

    fn process(&self, at: &Handshake, expected: Option<Process>) -> Result<()> {
        let expected = expected.filter(|_| self.processes);
        ensure!(
            at.listener.process == expected,
            "{expected:?} listens, but reported was {:?}",
            at.listener
        );
        Ok(())
    }
}

type Place<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn is_in(at: &Handshake, cgroup: Option<&str>, place: Place<'_>) -> Result<()> {
    let found = &at.listener;
    let container = found.container.as_ref();
    let of_containerd = container.is_none_or(|at| at.runtime.as_deref() == Some("containerd"));
    let said: Place<'_> = (
        container.map(|container| container.id.as_str()),
        found.pod.as_ref().map(|pod| pod.uid.as_str()),
        found.unit.as_deref(),
    );
    ensure!(
        found.cgroup.as_deref() == cgroup && said == place && of_containerd,
        "it listens in {cgroup:?}, {place:?}, but reported was {found:?}"
    );
    Ok(())
}

/// A namespace with a name is named, one without is not, in the findings and in the summary.
fn names(report: &Report, named: &Namespace) -> Result<()> {
    let named = named.inode()?;
    let expected = |netns: u64| (netns == named).then_some(NAME);
    for at in &report.handshakes {
        ensure!(
            at.listener.netns_name.as_deref() == expected(at.flow.netns),
            "namespace {named} is called {NAME} and no other is, but reported was {at:?}"
        );
    }
    ensure!(
        report.summary.listeners.len() == 5,
        "{:?}",
        report.summary.listeners
    );
    for listener in &report.summary.listeners {
        let one: Vec<&Owner> = listener.owners.iter().collect();
        let found = report.handshakes.iter().find(|at| {
            at.flow.netns == listener.netns && at.flow.local.address().port() == listener.port
        });
        let said = found.map(|at| Owner {
            netns_name: None,
            ..at.listener.clone()
        });
        ensure!(
            listener.netns_name.as_deref() == expected(listener.netns)
                && one.len() == 1
                && Some(one[0]) == said.as_ref(),
            "{said:?} listens, but the summary says {listener:?}"
        );
    }
    Ok(())
}

/// Connects once, and closes at the end of what is returned.
fn visit(at: &Namespace, port: u16) -> Result<Client> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait::until(PATIENCE, &format!("a listener on :{port}"), || {
        // It is refused until the process has come to listen().
        Ok(Client::connect(at, address).ok())
    })
}

/// Waits until somebody listens, without connecting.
fn listening(at: &Namespace, port: u16) -> Result<()> {
    // State 0A is LISTEN (proc(5)); the port is in hexadecimal.
    let mark = format!(":{port:04X} 00000000000000000000000000000000:0000 0A ");
    wait::until_true(PATIENCE, &format!("a listener on :{port}"), || {
        at.enter(|| {
            let sockets = fs::read_to_string("/proc/thread-self/net/tcp6");
            Ok(sockets.context("failed to read sockets")?.contains(&mark))
        })
    })
}

/// Stops the agent, so that it hears of things after they are over.
fn stopped(agent: &Agent) -> Result<()> {
    agent.signal(libc::SIGSTOP)?;
    let path = format!("/proc/{}/stat", agent.id());
    wait::until_true(PATIENCE, "the agent to stop", || {
        let stat = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        Ok(stat.contains(") T "))
    })
}

/// A process that listens, in a cgroup. Dropping it ends it.
struct Listening(Child);

impl Listening {
    fn start(program: &Path, cgroup: &Cgroup, at: &Namespace, port: u16) -> Result<Self> {
        let script = format!(
            "echo 0 > {} && exec {} broker --port {port}",
            cgroup.processes(),
            program.display()
        );
        at.enter(|| {
            let child = Command::new("sh")
                .args(["-c", &script])
                .stdout(Stdio::null())
                .spawn();
            Ok(Self(child.context("failed to start sh")?))
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It fails only for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A listener of this process that a child has inherited.
struct TwoOwners {
    _socket: TcpListener,
    child: Child,
}

impl TwoOwners {
    fn start(at: &Namespace, port: u16) -> Result<Self> {
        let options = ListenOptions {
            port,
            ..ListenOptions::default()
        };
        let socket = at.enter(|| socket::listen(&options))?;
        let descriptor = socket.as_raw_fd();
        let mut command = Command::new("sleep");
        command.arg("1000");
        // SAFETY: fcntl is a system call and touches no memory of ours.
        unsafe {
            command.pre_exec(move || {
                if libc::fcntl(descriptor, libc::F_SETFD, 0) == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            });
        }
        let child = command.spawn().context("failed to start sleep")?;
        Ok(Self {
            _socket: socket,
            child,
        })
    }

    /// The one with the smaller number.
    fn process(&self) -> Result<Process> {
        let pid = self.child.id().min(std::process::id());
        let path = format!("/proc/{pid}/comm");
        let name = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        Ok(Process {
            pid,
            name: name.trim_end().to_owned(),
            others: 1,
        })
    }
}

impl Drop for TwoOwners {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A network namespace that has a name. Dropping it takes the name away.
struct Named {
    namespace: Namespace,
}

impl Named {
    fn new() -> Result<Self> {
        run(&format!("ip netns add {NAME}"))?;
        let namespace = Namespace::named(NAME)?;
        Ok(Self { namespace })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Err(error) = run(&format!("ip netns del {NAME}")) {
            eprintln!("tcpwnd-lab: {error:#}");
        }
    }
}
