//! The agent is restarted while damaged connections are open. With a state file the next one counts
//! exactly those that are open still, until they are closed, and no other: not one that closed
//! meanwhile, and not a sound one that has its addresses now. Without one it begins at 0 and says
//! since when it has been watching; of another network namespace it claims nothing, and neither forgets
//! what the agents before it knew.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::bench::Bench;
use super::open_now::free_address;
use super::stage::{RMEM_AT_FIRST, Rmem, Stage};
use crate::agent::{Agent, Caps, Launch};
use crate::confined::landlock;
use crate::findings::{Answer, CarriedOver};
use crate::http::{get, metric};
use crate::net::Namespace;
use crate::peer::Peer;
use crate::wait::{self, PATIENCE};

/// IPv4 ones that are damaged at first; an IPv6 one comes on top.
const DAMAGED: u16 = 4;

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let place = Place::new(&bench.launch, &stage)?;
    let first = place.start(true)?;
    let mut damaged = stage.damaged(1..=DAMAGED)?;
    damaged.push(damaged_v6(&stage)?);
    let mut sound = Vec::new();
    for number in 11..=13 {
        let mut peer = stage.peer(number);
        peer.connect()?;
        sound.push(peer);
    }
    place.wait_damaged(damaged.len())?;
    let since = place.gauge("tcpwnd_watching_since_timestamp_seconds")?;
    ended(first)?;
    without_a_file(&place, since)?;

    // One ends while nobody watches, and a sound one gets its addresses.
    let mut closed = damaged.remove(0);
    closed.reset()?;
    let mut again = closed.again(1);
    again.connect()?;
    without_a_port(&place, damaged.len())?;
    // The next one cannot look for any of them, and the one after that can.
    let outside = place.outside()?;
    let blind = outside.start(true)?;
    outside.carries(&[], damaged.len() as u64, 0.0)?;
    ended(blind)?;
    let second = place.start(true)?;
    place.carries(&damaged, 0, 1.0)?;
    ensure!(
        place.gauge("tcpwnd_watching_since_timestamp_seconds")? > since,
        "it says to have watched since before it was started"
    );
    // One of those that were carried over ends, and one is found.
    damaged.remove(0).reset()?;
    stage.set_rmem(RMEM_AT_FIRST)?;
    damaged.extend(stage.damaged(21..=21)?);
    place.wait_damaged(damaged.len())?;
    place.wait_listed(&damaged)?;
    killed(second)?;

    let third = place.start(true)?;
    place.carries(&damaged, 0, 0.0)?;
    let kept = damaged.len();
    for peer in &mut damaged {
        peer.reset()?;
    }
    place.wait_damaged(0)?;
    let answer = place.answer()?;
    ensure!(
        answer.verdict == "clean" && answer.damaged_open == 0,
        "all were closed: {answer:?}"
    );
    ended(third)?;
    let unchecked = in_another_namespace(bench, &stage)?;
    Ok(format!(
        "{DAMAGED} and 1 damaged: {kept} of them and a later one carried over, then none; {unchecked} \
         elsewhere not claimed"
    ))
}

/// The other address family.
fn damaged_v6(stage: &Stage) -> Result<Peer<'_>> {
    stage.set_rmem(RMEM_AT_FIRST)?;
    let mut peer = stage.peer_of(true, DAMAGED + 1);
    peer.syn()?;
    let synack = peer.synack()?;
    stage.change(Rmem::Raised)?;
    peer.ack(&synack)?;
    Ok(peer)
}

/// It knows nothing of what was before, and does not say otherwise.
fn without_a_file(place: &Place<'_>, before: f64) -> Result<()> {
    let agent = place.start(false)?;
    let page = place.get("/metrics")?;
    let open = metric(&page, "tcpwnd_mismatched_connections", &[])?;
    let since = metric(&page, "tcpwnd_watching_since_timestamp_seconds", &[])?;
    ensure!(open == 0.0, "without a state file it counts {open}");
    ensure!(
        since > before,
        "it says to have watched since {since}, and the one before since {before}"
    );
    ensure!(
        !page.contains("tcpwnd_carried_over"),
        "it claims to know of a former agent"
    );
    ensure!(
        place.answer()?.carried_over.is_none(),
        "so does its answer to scripts"
    );
    ended(agent)
}

/// Of all ports: what was carried over has the label of its own.
fn without_a_port(place: &Place<'_>, damaged: usize) -> Result<()> {
    let agent = place.start_for(None, true)?;
    let page = place.get("/metrics")?;
    for labels in [&[][..], &["local_port=\"9092\""]] {
        let open = metric(&page, "tcpwnd_mismatched_connections", labels)?;
        ensure!(
            open == damaged as f64,
            "{open} instead of {damaged} with {labels:?}"
        );
    }
    let complete = metric(&page, "tcpwnd_carried_over_complete", &[])?;
    ensure!(complete == 1.0, "complete is {complete}");
    ended(agent)
}

/// An agent outside of the server's namespace cannot ask for its sockets.
fn in_another_namespace(bench: &Bench, stage: &Stage) -> Result<u64> {
    let outside = Place::new(&bench.launch, stage)?.outside()?;
    let agent = outside.start(true)?;
    stage.set_rmem(RMEM_AT_FIRST)?;
    let damaged = stage.damaged(31..=32)?;
    outside.wait_damaged(damaged.len())?;
    ended(agent)?;
    for _ in 0..2 {
        let agent = outside.start(true)?;
        outside.carries(&[], 2, 0.0)?;
        ended(agent)?;
    }
    Ok(2)
}

fn ended(agent: Agent) -> Result<()> {
    agent.signal(libc::SIGTERM)?;
    let mut agent = agent;
    let (_, code) = agent.wait_end()?;
    ensure!(code == 0, "tcpwnd ended with {code}");
    Ok(())
}

fn killed(mut agent: Agent) -> Result<()> {
    agent.kill().map(drop)
}

/// Where agents run, one after the other, and their file.
struct Place<'a> {
    launch: &'a Launch,
    /// In the server's namespace; `None` for the laboratory's own.
    server: Option<&'a Namespace>,
    folder: Arc<TempDir>,
    listen: SocketAddr,
}

impl<'a> Place<'a> {
    fn new(launch: &'a Launch, stage: &'a Stage) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a directory")?;
        // The agent may be an unprivileged user.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777))
            .context("failed to open up a directory")?;
        Ok(Self {
            launch,
            server: Some(&stage.server),
            folder: Arc::new(folder),
            listen: free_address()?,
        })
    }

    /// The same file, in the laboratory's own namespace.
    fn outside(&self) -> Result<Self> {
        Ok(Self {
            launch: self.launch,
            server: None,
            folder: Arc::clone(&self.folder),
            listen: free_address()?,
        })
    }

    fn there<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        match self.server {
            Some(server) => server.enter(work),
            None => work(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    fn start(&self, with_file: bool) -> Result<Agent> {
        self.start_for(Some("9092"), with_file)
    }

    fn start_for(&self, port: Option<&str>, with_file: bool) -> Result<Agent> {
        let (listen, file) = (self.listen.to_string(), self.file());
        let file = file.to_str().context("an odd path")?;
        let mechanism = self.launch.mechanism.name();
        let mut arguments = vec!["run", "--listen", &listen, "--mechanism", mechanism];
        if let Some(port) = port {
            arguments.extend(["--port", port]);
        }
        if with_file {
            arguments.extend(["--state-file", file]);
            // Where there is no landlock root keeps none, unless it may do anything anyway.
            if self.launch.caps == Caps::All && landlock()?.is_err() {
                arguments.push("--no-sandbox");
            }
        }
        self.there(|| self.launch.start(&arguments))
    }

    fn get(&self, path: &str) -> Result<String> {
        self.there(|| get(self.listen, path))
    }

    fn gauge(&self, name: &str) -> Result<f64> {
        metric(&self.get("/metrics")?, name, &[])
    }

    /// What it says to a script that asks about the time since it began to watch.
    fn answer(&self) -> Result<Answer> {
        let page = self.get("/api/v1/findings?port=9092")?;
        serde_json::from_str(&page).with_context(|| format!("not an answer: {page}"))
    }

    fn wait_damaged(&self, count: usize) -> Result<()> {
        let mut seen = 0.0;
        wait::until_true(2 * PATIENCE, &format!("{count} open damaged ones"), || {
            seen = self.gauge("tcpwnd_mismatched_connections")?;
            Ok(seen == count as f64)
        })
        .with_context(|| format!("{seen} were counted"))
    }

    /// Waits until the file lists these and no other.
    fn wait_listed(&self, peers: &[Peer<'_>]) -> Result<()> {
        wait::until_true(PATIENCE, "the state file to list them", || {
            let file = std::fs::read_to_string(self.file()).context("failed to read the state")?;
            let listed = |peer: &Peer<'_>| file.contains(&format!("\"{}\"", peer.local()));
            let missing = self.gauge("tcpwnd_state_file_left_out_connections")?;
            let count = self.gauge("tcpwnd_state_file_connections")?;
            Ok(missing == 0.0 && count == peers.len() as f64 && peers.iter().all(listed))
        })
    }

    /// From the beginning exactly these are counted and listed, and no handshake.
    fn carries(&self, peers: &[Peer<'_>], unchecked: u64, complete: f64) -> Result<()> {
        let page = self.get("/metrics")?;
        for (name, value) in [
            ("tcpwnd_mismatched_connections", peers.len() as f64),
            ("tcpwnd_scale_lost_connections", 0.0),
            ("tcpwnd_carried_over_connections", peers.len() as f64),
            (
                "tcpwnd_carried_over_unchecked_connections",
                unchecked as f64,
            ),
            ("tcpwnd_carried_over_complete", complete),
            ("tcpwnd_window_scale_mismatches_total", 0.0),
            ("tcpwnd_handshakes_total", 0.0),
            ("tcpwnd_state_file_errors_total", 0.0),
        ] {
            let found = metric(&page, name, &[])?;
            ensure!(found == value, "{name} is {found}, not {value}");
        }
        let answer = self.answer()?;
        let verdict = match (peers.len(), unchecked) {
            (1.., _) => "damaged",
            (0, 1..) => "inconclusive",
            (0, 0) => "clean",
        };
        ensure!(
            answer.verdict == verdict && answer.damaged_open == peers.len() as u64,
            "{} are open: {answer:?}",
            peers.len()
        );
        let carried: CarriedOver = answer.carried_over.context("nothing was carried over")?;
        let connections = carried.connections.iter();
        let mut found: Vec<_> = connections.map(|at| at.flow.remote.address()).collect();
        let mut expected: Vec<_> = peers.iter().map(Peer::local).collect();
        found.sort();
        expected.sort();
        ensure!(
            found == expected && carried.unchecked == unchecked,
            "{expected:?} are damaged, but carried over were {carried:?}"
        );
        Ok(())
    }
}
