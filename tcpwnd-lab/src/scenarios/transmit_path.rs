//! Nothing of ours is on the transmit path while no connection is suspect: no function is probed that
//! is not known to be elsewhere, and thousands of segments run no program. While a connection is
//! suspect, they do, which shows that the look would have found it.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::{PORT, Rmem, Stage, unlocked};
use crate::agent::Agent;
use crate::broker::{self, Broker};
use crate::client::Client;
use crate::hooks::Hooks;
use crate::net::{Changed, Pair, PairOptions};
use crate::peer::Peer;
use crate::wait::{self, PATIENCE};

/// What may be probed at any time: what handles the packets of a handshake as they arrive, makes
/// the answer to a SYN, or changes a socket's state.
const HANDSHAKE: [&str; 11] = [
    "__cookie_v4_check",
    "__cookie_v6_check",
    "cookie_v4_check",
    "cookie_v6_check",
    "inet_sock_set_state",
    "tcp_check_req",
    "tcp_conn_request",
    "tcp_get_cookie_sock",
    "tcp_make_synack",
    "tcp_rcv_state_process",
    "tcp_set_state",
];

/// What may be probed besides where netfilter's SYN proxy is there. No segment of a socket's passes
/// them, unless a tunnel packs it into a datagram: `ip_route_me_harder` routes anew what the packet
/// filter has changed, and IPv6 segments take `ip6_xmit`, which does not call `ip6_local_out`.
const SYNPROXY: [&str; 2] = ["ip6_local_out", "ip_route_me_harder"];

/// Where a segment's window is chosen: probed while a connection is suspect.
const WINDOW: [&str; 2] = ["__tcp_select_window", "tcp_select_window"];

/// Whether anything is attached to the function that chooses a segment's window.
///
/// # Errors
/// As [`Hooks::look`].
pub fn attached() -> Result<bool> {
    let hooks = Hooks::look()?;
    let attached = hooks.attached_to();
    Ok(WINDOW
        .into_iter()
        .any(|function| attached.contains(function)))
}

pub fn play(bench: &Bench) -> Result<String> {
    // Otherwise the kernel does not count runs.
    let _counted = Changed::new("kernel/bpf_stats_enabled", "1")?;
    let stage = Stage::with_cookies()?;
    let probed = Probed(Hooks::look()?);
    let mut agent = bench.trace()?;
    let mut talks = Talks::begin()?;
    let mut sound = stage.peer(1);
    sound.connect()?;
    agent.wait_handshakes(1 + talks.clients.len())?;
    for function in probed.now()? {
        let known = HANDSHAKE.iter().chain(&SYNPROXY);
        ensure!(
            known.into_iter().any(|known| **known == function),
            "{function} is probed although nothing is suspect"
        );
    }
    let mut ran = Vec::new();
    while ran.last() != Some(&0) {
        ran.push(talks.runs(agent.id())?);
        ensure!(
            ran.len() < ROUNDS || ran.last() == Some(&0),
            "each time {SEGMENTS} segments were sent programs ran {ran:?} times, with no suspect"
        );
    }
    let mut damaged = stage.peer(2);
    let watched = suspect(&stage, &mut damaged, &mut agent, &probed, &mut talks)?;
    let report = agent.finish()?;
    report.of(sound.local())?.expect("ok", "cookie", None)?;
    report
        .of(damaged.local())?
        .expect("mismatch", "cookie", Some("tcp_rmem_changed"))?;
    ensure!(
        report.closed.len() == 1 && report.closed[0].flow.remote.address() == damaged.local(),
        "the end of the suspect, and of nothing else, is reported: {:?}",
        report.closed
    );
    Ok(format!(
        "{SEGMENTS} segments ran nothing; for one suspect {watched} runs and {} windows",
        report.windows.len()
    ))
}

/// A connection is damaged and then ends. Returns how often programs ran for others meanwhile.
fn suspect(
    stage: &Stage,
    damaged: &mut Peer<'_>,
    agent: &mut Agent,
    probed: &Probed,
    talks: &mut Talks,
) -> Result<u64> {
    damaged.syn()?;
    let synack = damaged.synack()?;
    stage.change(Rmem::Raised)?;
    damaged.ack(&synack)?;
    stage.broker.wait_accepted(2)?;
    wait::until_true(PATIENCE, "a probe on the transmit path", || {
        probed.is_watching()
    })?;
    for _ in 0..3 {
        let timestamps = damaged.timestamps(&synack);
        damaged.data(&broker::encode(0, 4), timestamps)?;
        damaged.receive()?;
    }
    agent.wait_kind("window", 1)?;
    let runs = talks.runs(agent.id())?;
    ensure!(
        runs >= SEGMENTS,
        "programs ran {runs} times while {SEGMENTS} segments were sent and one was suspect"
    );
    damaged.reset()?;
    wait::until_true(PATIENCE, "the probe to go with the connection", || {
        Ok(!probed.is_watching()?)
    })?;
    Ok(runs)
}

/// What is probed beside what was probed then.
struct Probed(Hooks);

impl Probed {
    fn now(&self) -> Result<Vec<String>> {
        let (now, before) = (Hooks::look()?, self.0.attached_to());
        let now = now.attached_to();
        let new = now.difference(&before);
        Ok(new.map(|name| (*name).to_owned()).collect())
    }

    fn is_watching(&self) -> Result<bool> {
        let of_windows = |name: &String| WINDOW.contains(&name.as_str());
        Ok(self.now()?.iter().any(of_windows))
    }
}

/// Requests of each client.
const REQUESTS: u64 = 500;

/// Segments that they make at least: each request is one, and so is its answer.
const SEGMENTS: u64 = 2 * 2 * REQUESTS;

/// How often they are sent before it is believed that it is they who run the programs: what other
/// scenarios left behind may send a SYN+ACK again.
const ROUNDS: usize = 5;

/// Sound connections that data goes to and fro on, over either family.
struct Talks {
    clients: Vec<Client>,
    _broker: Broker,
    _pair: Pair,
}

impl Talks {
    fn begin() -> Result<Self> {
        let pair = Pair::new(PairOptions::default())?;
        let broker = Broker::start(&pair.server, &unlocked())?;
        let connect = |to: IpAddr| Client::connect(&pair.client, SocketAddr::new(to, PORT));
        let clients = vec![connect(Pair::SERVER_V4)?, connect(Pair::SERVER_V6)?];
        broker.wait_accepted(clients.len())?;
        Ok(Self {
            clients,
            _broker: broker,
            _pair: pair,
        })
    }

    /// How often programs of this process ran while at least [`SEGMENTS`] segments were sent.
    fn runs(&mut self, pid: u32) -> Result<u64> {
        let before = runs_of(pid)?;
        for client in &mut self.clients {
            for _ in 0..REQUESTS {
                client.request(1)?;
            }
        }
        Ok(runs_of(pid)?.saturating_sub(before))
    }
}

/// `BPF_PROG_TYPE_RAW_TRACEPOINT` (include/uapi/linux/bpf.h).
const RAW_TRACEPOINT: &str = "17";

/// How often the programs ran that a process holds, as the kernel counts it
/// (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c, 5.1). Those at tracepoints are left out: what other
/// scenarios left behind changes its state for minutes.
fn runs_of(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/fdinfo");
    let (mut sum, mut programs) = (0, 0);
    for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {folder}"))? {
        // A descriptor may have been closed meanwhile.
        let text = entry.and_then(|entry| fs::read_to_string(entry.path()));
        let Ok(text) = text else { continue };
        let value = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim()))
        };
        if let Some(count) = value("run_cnt:")
            && value("prog_type:") != Some(RAW_TRACEPOINT)
        {
            programs += 1;
            sum += count.parse::<u64>().context("not a number of runs")?;
        }
    }
    ensure!(programs > 0, "tcpwnd holds no programs that are counted");
    Ok(sum)
}
