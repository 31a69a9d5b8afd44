//! Reconnect storms for a long time: what the agent's memory, its descriptors and its books do
//! meanwhile.
//!
//! Constraint: what is measured is what the kernel says of the process; what must be reported is what
//! the sockets of both ends say.

pub mod process;
mod samples;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::agent::{Agent, Caps, Launch, Mechanism, Transport};
use crate::http::{get, metric};
use crate::producers::{COUNT, DELAY, PORT, Producers};
use crate::scenarios::free_address;
use crate::wait::{self, PATIENCE};

use process::Process;
use samples::{Sample, Samples};

/// How often something is told.
const TELL: Duration = Duration::from_secs(60);

/// Storms, and what both ends' sockets say came of them.
#[derive(Debug, Default, Clone, Copy)]
struct Made {
    storms: usize,
    connections: usize,
    damaged: usize,
}

/// Lets storms come until `length` is over, and checks memory, descriptors and books.
///
/// # Errors
/// When a storm fails, when the books are wrong at any time, or the agent's memory or its descriptors
/// become more.
pub fn run(affected: bool, length: Duration) -> Result<()> {
    let mut producers = Producers::new(affected)?;
    let listen = free_address()?;
    let mut agent = start_agent(listen)?;
    let process = Process::of(agent.id());
    introduce(listen, length)?;
    let (begin, mut told) = (Instant::now(), Instant::now());
    let (mut made, mut samples) = (Made::default(), Samples::default());
    while begin.elapsed() < length {
        let open = storm(&mut producers, listen, &mut made)?;
        let sample = Sample {
            seconds: begin.elapsed().as_secs_f64(),
            resident: process.resident()?,
            descriptors: process.lasting_descriptors(samples.descriptors())?,
            cpu: process.cpu()?,
            accepted: producers.accepted(),
            open,
        };
        if told.elapsed() >= TELL {
            tell(&sample, made);
            told = Instant::now();
        }
        samples.push(sample);
    }
    let page = get(listen, "/metrics")?;
    let late = books(&page, made, producers.accepted())?;
    println!();
    for line in samples.check()? {
        println!("  {line}");
    }
    println!(
        "  {} storms, {} connections accepted and judged, {} damaged, {late} unverified, 0 lost; \
         {} clients were reset and came back",
        made.storms,
        producers.accepted(),
        made.damaged,
        producers.resets()
    );
    println!("{}", serde_json::to_string(&samples.panels())?);
    end(&mut agent)
}

fn start_agent(listen: SocketAddr) -> Result<Agent> {
    let launch = Launch {
        mechanism: Mechanism::Auto,
        transport: Transport::Auto,
        caps: Caps::Service,
    };
    launch.start(&["run", "--port", "9092", "--listen", &listen.to_string()])
}

fn introduce(listen: SocketAddr, length: Duration) -> Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let release = release.context("failed to read the kernel's release")?;
    println!(
        "A broker (backlog 50, tcp_syncookies=1) on Linux {}; for {} minutes {COUNT} producers {} ms \
         away come back all at once, again and again:",
        release.trim(),
        length.as_secs() / 60,
        2 * DELAY.as_millis()
    );
    println!("  # tcpwnd run --port {PORT} --listen {listen}\n");
    Ok(())
}

/// One storm, after which the broker is restarted; returns how many damaged connections were open.
fn storm(producers: &mut Producers, listen: SocketAddr, made: &mut Made) -> Result<usize> {
    let clients = producers.storm()?;
    let (sound, damaged) = producers.sort(clients)?;
    made.storms += 1;
    made.connections += sound.len() + damaged.len();
    made.damaged += damaged.len();
    agree(listen, producers, damaged.len())?;
    get(listen, "/api/v1/findings?port=9092")?;
    let open = damaged.len();
    producers.restart_broker(sound.into_iter().chain(damaged).collect())?;
    agree(listen, producers, 0)?;
    Ok(open)
}

/// Waits until the agent has counted what was accepted, and `open` damaged connections.
fn agree(listen: SocketAddr, producers: &Producers, open: usize) -> Result<()> {
    let mut said = (0.0, 0.0);
    let agreed = wait::until_true(PATIENCE, "the agent to count everything", || {
        let page = get(listen, "/metrics")?;
        said = (
            metric(&page, "tcpwnd_handshakes_total", &[])?,
            metric(&page, "tcpwnd_mismatched_connections", &[])?,
        );
        Ok(said == (producers.accepted() as f64, open as f64))
    });
    agreed.with_context(|| {
        let accepted = producers.accepted();
        format!("{accepted} accepted and {open} damaged, but the agent says {said:?}")
    })
}

fn tell(sample: &Sample, made: Made) {
    println!(
        "{:5.1} min  {} storms, {} accepted, {} damaged; {:.1} MiB, {} descriptors, {:.1} s CPU",
        sample.seconds / 60.0,
        made.storms,
        sample.accepted,
        made.damaged,
        sample.resident as f64 / f64::from(1 << 20),
        sample.descriptors,
        sample.cpu.as_secs_f64()
    );
}

/// Every connection is in exactly one class, and each class has what the sockets say. Returns how many
/// have no verdict: connections that a held up ACK opened (see the scenario `ordinary`).
fn books(page: &str, made: Made, accepted: usize) -> Result<usize> {
    let sum = |name: &str| metric(page, name, &[]).map(|value| value as usize);
    let late = accepted - made.connections;
    let unverified = sum("tcpwnd_window_scale_unverified_total")?;
    let mismatches = sum("tcpwnd_window_scale_mismatches_total")?;
    let lost = sum("tcpwnd_events_lost_total")? + sum("tcpwnd_decode_errors_total")?;
    ensure!(
        (unverified, mismatches, lost) == (late, made.damaged, 0),
        "{made:?}, {late} late, but the agent says {mismatches} mismatches, {unverified} unverified, \
         {lost} lost"
    );
    Ok(unverified)
}

fn end(agent: &mut Agent) -> Result<()> {
    agent.signal(libc::SIGTERM)?;
    let (_, code) = agent.wait_end()?;
    ensure!(code == 0, "tcpwnd ended with {code}");
    Ok(())
}
