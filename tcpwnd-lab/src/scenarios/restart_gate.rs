//! Three broker-like servers, each with an agent of its own, are restarted one after the other by
//! the shipped script. It holds back while one of them has a damaged connection, goes on when that
//! is closed, and goes on in no case in which it cannot know.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::open_now::free_address;
use super::stage::{Rmem, Stage, unlocked};
use crate::agent::Agent;
use crate::findings::{Answer, Line};
use crate::http::get;
use crate::peer::Peer;
use crate::restart_script::RestartScript;
use crate::wait::{self, PATIENCE};

/// Seconds after which the script gives a broker up, where it should not come to that.
const LONG: u32 = 300;

pub fn play(bench: &Bench) -> Result<String> {
    let mut hosts = [Host::new(bench)?, Host::new(bench)?, Host::new(bench)?];
    let held_back = damaged_one_holds_it_back(&mut hosts)?;
    given_up(&mut hosts[2])?;
    agent_away(bench, &mut hosts)?;
    Ok(format!("held back {held_back} times, then healed and on"))
}

/// A server and the agent that watches its namespace.
struct Host {
    stage: Stage,
    agent: Agent,
    listen: SocketAddr,
    clients: u16,
}

impl Host {
    fn new(bench: &Bench) -> Result<Self> {
        let stage = Stage::with_cookies()?;
        let listen = free_address()?;
        Ok(Self {
            agent: watch(bench, &stage, listen)?,
            stage,
            listen,
            clients: 0,
        })
    }

    /// The agent's port, which the script knows the broker by.
    fn name(&self) -> u16 {
        self.listen.port()
    }

    fn restart(&mut self) -> Result<()> {
        // As quick as no real one is: handshakes are counted from the next tenth of a second on.
        let asked = Instant::now();
        wait::until_true(PATIENCE, "the next tenth of a second", || {
            Ok(asked.elapsed() > Duration::from_millis(100))
        })?;
        self.stage.rebind(&unlocked())
    }

    fn next_peer(&mut self) -> Peer<'_> {
        self.clients += 1;
        self.stage.peer(self.clients)
    }

    /// A client connects, and nothing is wrong.
    fn sound(&mut self) -> Result<()> {
        let mut peer = self.next_peer();
        peer.connect()?;
        let address = peer.local();
        self.stage.broker.wait_accepted_from(address).map(drop)
    }

    /// A client connects, and the scale is another one when its ACK comes.
    fn damaged(&mut self) -> Result<Peer<'_>> {
        self.clients += 1;
        let mut peer = self.stage.peer(self.clients);
        peer.syn()?;
        let synack = peer.synack()?;
        self.stage.change(Rmem::Raised)?;
        peer.ack(&synack)?;
        self.stage.broker.wait_accepted_from(peer.local())?;
        Ok(peer)
    }

    fn ask(&self, query: &str) -> Result<Answer> {
        let page = get(self.listen, &format!("/api/v1/findings?{query}"))?;
        serde_json::from_str(&page).with_context(|| format!("not an answer: {page}"))
    }
}

fn watch(bench: &Bench, stage: &Stage, listen: SocketAddr) -> Result<Agent> {
    let netns = stage.server.inode()?.to_string();
    bench.launch.serve(listen, &["--netns", &netns])
}

/// The second of three has a damaged connection after its restart. Returns how often the script
/// looked meanwhile.
fn damaged_one_holds_it_back(hosts: &mut [Host; 3]) -> Result<usize> {
    let names = [hosts[0].name(), hosts[1].name(), hosts[2].name()];
    let [first, second, third] = hosts;
    let mut script = RestartScript::start(&names, LONG)?;
    script.wait_asked(names[0])?;
    first.restart()?;
    first.sound()?;
    script.restarted(names[0])?;

    script.wait_asked(names[1])?;
    let before = second.ask("limit=0")?.now;
    second.restart()?;
    second.sound()?;
    let asked = second.listen;
    let mut damaged = second.damaged()?;
    script.restarted(names[1])?;
    let words = format!("{}: held back: 1 damaged connections are open", names[1]);
    script.wait_said(&words, 3)?;
    told_of(asked, &before, damaged.local())?;
    ensure!(
        !script.asked(names[2]),
        "the third was restarted while the second had a damaged connection"
    );
    damaged.reset()?;

    script.wait_asked(names[2])?;
    third.restart()?;
    third.sound()?;
    script.restarted(names[2])?;
    let said = script.wait_end(0)?;
    let steps: Vec<&str> = said
        .lines()
        .filter(|line| !line.contains("held back"))
        .collect();
    let expected = [
        format!("{}: restarting", names[0]),
        format!("{}: clean", names[0]),
        format!("{}: restarting", names[1]),
        format!("{}: healed", names[1]),
        format!("{}: restarting", names[2]),
        format!("{}: clean", names[2]),
    ];
    ensure!(steps == expected, "the script's steps were {said}");
    Ok(said.matches(&words).count())
}

/// The answer has the damaged connection as the schema of findings describes it, and not the sound
/// one; elsewhere, and of another time, there is none.
fn told_of(listen: SocketAddr, before: &str, peer: SocketAddr) -> Result<()> {
    let ask = |query: &str| -> Result<Answer> {
        let page = get(listen, &format!("/api/v1/findings?{query}"))?;
        serde_json::from_str(&page).with_context(|| format!("not an answer: {page}"))
    };
    let answer = ask(&format!("since={before}&port=9092"))?;
    let [Line::Handshake(finding)] = answer.findings.as_slice() else {
        anyhow::bail!("not one finding: {answer:?}");
    };
    ensure!(
        finding.flow.remote.address() == peer && finding.verdict == "mismatch",
        "the damaged one is {peer}, but told was {finding:?}"
    );
    ensure!(
        answer.verdict == "damaged"
            && answer.reasons.is_empty()
            && (answer.handshakes_judged, answer.damaged_open) == (2, 1),
        "two handshakes, one damaged: {answer:?}"
    );
    let now = ask(&format!("since={}&port=9092", answer.now))?;
    ensure!(
        now.verdict == "damaged" && now.findings.is_empty(),
        "none came since, one is open: {now:?}"
    );
    let elsewhere = ask("port=9093")?;
    ensure!(
        elsewhere.verdict == "inconclusive" && elsewhere.reasons[0].code == "port_not_watched",
        "nobody watches port 9093: {elsewhere:?}"
    );
    for bad in ["prot=9092", "since=tomorrow", "port=0"] {
        ensure!(
            get(listen, &format!("/api/v1/findings?{bad}")).is_err(),
            "{bad} was answered"
        );
    }
    Ok(())
}

/// A damaged connection that stays ends it with 1.
fn given_up(host: &mut Host) -> Result<()> {
    let name = host.name();
    let mut script = RestartScript::start(&[name], 2)?;
    script.wait_asked(name)?;
    host.restart()?;
    let mut damaged = host.damaged()?;
    script.restarted(name)?;
    let said = script.wait_end(1)?;
    ensure!(said.contains("given up after 2 s"), "it said {said}");
    damaged.reset()
}

/// Without an agent nothing is restarted at all, and after a restart nothing is concluded from one
/// that was restarted itself.
fn agent_away(bench: &Bench, hosts: &mut [Host; 3]) -> Result<()> {
    let names = [hosts[0].name(), hosts[1].name()];
    let [host, ..] = hosts;
    host.agent.kill()?;
    let mut script = RestartScript::start(&names, LONG)?;
    let said = script.wait_end(3)?;
    ensure!(
        said.contains("not restarted: no answer") && !script.asked(names[0]),
        "without an agent it said {said}"
    );

    host.agent = watch(bench, &host.stage, host.listen)?;
    let mut script = RestartScript::start(&names, LONG)?;
    script.wait_asked(names[0])?;
    host.restart()?;
    script.restarted(names[0])?;
    script.wait_said("held back: 0 of 1 handshakes have come", 1)?;
    host.agent.kill()?;
    script.wait_said("held back: no answer from the agent", 1)?;
    host.agent = watch(bench, &host.stage, host.listen)?;
    host.sound()?;
    let said = script.wait_end(3)?;
    ensure!(
        said.contains("inconclusive: not_watching_yet") && !script.asked(names[1]),
        "after the agent's restart it said {said}"
    );
    Ok(())
}
