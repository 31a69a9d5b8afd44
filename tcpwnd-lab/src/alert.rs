//! The project's alerts in a real Prometheus: silent while all is well, firing after a reconnect
//! storm, silent again when the damaged clients have reconnected.
//!
//! Constraint: real time and the rules as they are shipped; whatever else is pending or firing at any
//! time is a failure.

mod dashboard;
mod watch;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::agent::{Agent, Caps, Launch, Mechanism, Transport};
use crate::client::Client;
use crate::node_exporter::NodeExporter;
use crate::producers::{AT_A_TIME, COUNT, DELAY, PORT, Producers};
use crate::prometheus::{Prometheus, SCRAPE, State};
use crate::scenarios::free_address;

use watch::Watch;

/// The alert that is about the damage itself.
const MISMATCHED: &str = "TcpwndMismatchedConnections";
/// Damage of which a producer far away notices something.
const CEILING: &str = "TcpwndThroughputCeilingLow";
/// What the storm by itself brings about. It looks back for 5 minutes.
const BURST: &str = "TcpwndSynCookieBurst";

/// All that a storm may bring about.
const EXPECTED: &[&str] = &[MISMATCHED, CEILING, BURST];

/// How many connections the storm has to damage at the least for this to show anything.
const DAMAGED: usize = 100;

const OPEN: &str = "sum(tcpwnd_mismatched_connections)";

/// Prometheus' own word for how long the agent let it wait, in seconds.
const SLOWEST: &str = r#"max_over_time(scrape_duration_seconds{job="tcpwnd"}[20m])"#;

/// The last line, for whoever draws it.
#[derive(Serialize)]
struct Dashboard {
    panels: Vec<dashboard::Shown>,
}

/// Shows it.
///
/// # Errors
/// When any step fails, when an alert does not come or go, and when there is one that should not be.
pub fn run(affected: bool) -> Result<()> {
    let mut producers = Producers::new(affected)?;
    let listen = free_address()?;
    let mut agent = start_agent(listen)?;
    let node = NodeExporter::start(producers.at())?;
    let prometheus = Prometheus::start(listen, node.address)?;
    introduce(listen, &prometheus, affected)?;
    let mut watch = Watch::new(prometheus)?;

    let clients = all_is_well(&mut producers, &mut watch)?;
    let (sound, damaged) = storm(&mut producers, clients, &mut watch)?;
    let count = damaged.len();
    alerted(&mut watch, count)?;
    let healed = reconnect(&producers, damaged, &mut watch)?;
    resolved(&mut watch)?;
    let open = sound.len() + healed.len();
    watch.say(&format!("{open} sound connections are open, no alert"));
    let slowest = watch.prometheus.value(SLOWEST)?;
    eprintln!("tcpwnd-lab: the slowest scrape took {slowest:?} s");
    let panels = dashboard::ask(&watch.prometheus, watch.span()?, count)?;
    watch.say(&format!(
        "each query of the {} panels of deploy/grafana/tcpwnd.json has a result",
        panels.len()
    ));
    println!("{}", serde_json::to_string(&Dashboard { panels })?);

    agent.signal(libc::SIGTERM)?;
    let (_, code) = agent.wait_end()?;
    ensure!(code == 0, "tcpwnd ended with {code}");
    Ok(())
}

fn start_agent(listen: SocketAddr) -> Result<Agent> {
    let launch = Launch {
        mechanism: Mechanism::Auto,
        transport: Transport::Auto,
        caps: Caps::All,
    };
    launch.start(&["run", "--port", "9092", "--listen", &listen.to_string()])
}

fn introduce(listen: SocketAddr, prometheus: &Prometheus, affected: bool) -> Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let release = release.context("failed to read the kernel's release")?;
    println!(
        "A broker (backlog 50, tcp_syncookies=1) on Linux {}, {COUNT} producers {} ms away:",
        release.trim(),
        2 * DELAY.as_millis()
    );
    if affected {
        println!("  SO_RCVBUF 102400, Kafka's default, which this kernel's cookie path forgets");
    } else {
        println!("  no SO_RCVBUF; this kernel is sound, so tcp_rmem is raised during the storm");
    }
    println!("  # tcpwnd run --port {PORT} --listen {listen}");
    println!(
        "  # prometheus {}, scrapes every {SCRAPE} s; deploy/prometheus/tcpwnd.rules.yml as it is, every 1 s\n",
        prometheus.version()?
    );
    Ok(())
}

/// Everybody connects without a storm: nothing is damaged, and there is no alert.
fn all_is_well(producers: &mut Producers, watch: &mut Watch) -> Result<Vec<Client>> {
    let clients = producers.connect_gently(COUNT, || watch.look(&[]))?;
    let (sound, damaged) = producers.sort(clients)?;
    ensure!(
        damaged.is_empty(),
        "{} were damaged without a storm",
        damaged.len()
    );
    watch.say(&format!(
        "{COUNT} producers have connected, {AT_A_TIME} at a time: all sound"
    ));
    watch.until("the handshakes to be scraped", &[], |watch| {
        let count = watch.prometheus.value("sum(tcpwnd_handshakes_total)")?;
        Ok(count == Some(COUNT as f64))
    })?;
    watch.evaluated(&[])?;
    watch.say("scraped and evaluated: no alert");
    Ok(sound)
}

/// The broker is restarted, and everybody comes back at once. Returns the sound and the damaged.
fn storm(
    producers: &mut Producers,
    clients: Vec<Client>,
    watch: &mut Watch,
) -> Result<(Vec<Client>, Vec<Client>)> {
    watch.say("the broker is restarted, and the producers come back all at once");
    producers.restart_broker(clients)?;
    let clients = watch.during(EXPECTED, || producers.storm())?;
    let (sound, damaged) = producers.sort(clients)?;
    watch.say(&format!(
        "all are connected: {} sound, {} damaged (the sockets of both ends say so)",
        sound.len(),
        damaged.len()
    ));
    ensure!(
        damaged.len() >= DAMAGED,
        "the storm damaged {} only",
        damaged.len()
    );
    Ok((sound, damaged))
}

/// Each alert comes, and the one about the damage is pending first.
fn alerted(watch: &mut Watch, damaged: usize) -> Result<()> {
    for state in [State::Pending, State::Firing] {
        watch.until("the damage to be alerted", EXPECTED, |watch| {
            Ok(watch.state(MISMATCHED) == Some(state))
        })?;
    }
    let open = watch.prometheus.value(OPEN)?;
    ensure!(
        open == Some(damaged as f64),
        "{damaged} connections are damaged, but {OPEN} is {open:?}"
    );
    watch.until("the low ceiling to be alerted", EXPECTED, |watch| {
        Ok(watch.state(CEILING) == Some(State::Firing))
    })?;
    for name in EXPECTED {
        let state = watch.state(name);
        ensure!(state == Some(State::Firing), "{name} is {state:?}");
    }
    Ok(())
}

/// The remedy: the damaged connections are closed, which takes the gauge to 0, and their clients
/// open others, a few at a time.
fn reconnect(
    producers: &Producers,
    damaged: Vec<Client>,
    watch: &mut Watch,
) -> Result<Vec<Client>> {
    let count = damaged.len();
    watch.say(&format!("the {count} damaged connections are closed"));
    for client in damaged {
        client.reset()?;
    }
    watch.until("the gauge to return to 0", EXPECTED, |watch| {
        Ok(watch.prometheus.value(OPEN)? == Some(0.0))
    })?;
    watch.say(&format!("{OPEN} is 0"));
    let clients = producers.connect_gently(count, || watch.look(EXPECTED))?;
    let (sound, damaged) = producers.sort(clients)?;
    ensure!(damaged.is_empty(), "{} are damaged again", damaged.len());
    watch.say(&format!(
        "their producers have connected again, {AT_A_TIME} at a time: all sound"
    ));
    Ok(sound)
}

/// Each alert goes by itself, and none comes.
fn resolved(watch: &mut Watch) -> Result<()> {
    watch.until("the damage's alerts to resolve", EXPECTED, |watch| {
        Ok(watch.state(MISMATCHED).is_none() && watch.state(CEILING).is_none())
    })?;
    watch.until("the last alert to resolve", &[BURST], |watch| {
        Ok(watch.state(BURST).is_none())
    })?;
    watch.evaluated(&[])
}
