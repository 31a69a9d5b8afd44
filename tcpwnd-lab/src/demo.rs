//! The demo: a healthy connection, a damaged one, what tcpwnd says of it, and the remedy.
//!
//! Constraint: nothing printed is prepared; every number was measured in this run, and every line
//! of tcpwnd's is tcpwnd's own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::agent::{Agent, Caps, Launch, Mechanism, Transport};
use crate::broker::Broker;
use crate::client::Client;
use crate::held;
use crate::http::get;
use crate::net::{Pair, PairOptions};
use crate::scenarios::free_address;
use crate::socket::ListenOptions;
use crate::wait::{self, PATIENCE};

/// Half of the round trip: a client on another continent.
const DELAY: Duration = Duration::from_millis(100);

/// What each producer sends, in bytes.
const REQUEST: u32 = 60_000;

/// How many bits the scale goes up by: a factor of 64, as at LINE.
const SHIFT: u8 = 6;

/// How much slower the damaged connection has to be for the demo to have shown anything.
const SLOWER: f64 = 4.0;

const PORT: u16 = 9092;

/// What was seen of a connection.
struct Seen {
    name: &'static str,
    address: SocketAddr,
    told: u8,
    used: u8,
    window: u32,
    took: Duration,
}

/// Shows it.
///
/// # Errors
/// When any step fails, and when the damaged connection is not damaged.
pub fn run() -> Result<()> {
    let pair = Pair::new(PairOptions { delay: DELAY })?;
    // Small at first, as before somebody tunes it.
    set_rmem(&pair, 212_992)?;
    let listen = ListenOptions {
        receive_buffer: None,
        ..ListenOptions::default()
    };
    let broker = Broker::start(&pair.server, &listen)?;
    let launch = Launch {
        mechanism: Mechanism::Auto,
        transport: Transport::Auto,
        caps: Caps::All,
    };
    let listen = free_address()?;
    let service = launch.start(&["run", "--port", "9092", "--listen", &listen.to_string()])?;
    let mut trace = launch.start(&["trace", "--port", "9092"])?;
    title("A broker (backlog 50, no SO_RCVBUF), its producers 200 ms away; watching:");
    println!("  # tcpwnd trace --port {PORT}");
    println!("  # tcpwnd run --port {PORT} --listen {listen}");

    let healthy = transfer("healthy", connect(&pair)?, &broker)?;
    title("1. A healthy connection");
    println!("  {REQUEST} bytes took {:.2} s", healthy.took.as_secs_f64());
    let damaged = damage(&pair, &broker, &mut trace, healthy.told + SHIFT)?;
    title("3. What Prometheus sees (/metrics)");
    show_metrics(listen)?;

    title("4. The remedy: no SYN cookies, and the producer reconnects");
    pair.server.set("net/ipv4/tcp_syncookies", "0")?;
    let healed = transfer("after the remedy", connect(&pair)?, &broker)?;
    println!("  {REQUEST} bytes took {:.2} s", healed.took.as_secs_f64());
    title("Side by side");
    side_by_side(&[&healthy, &damaged, &healed]);
    title("tcpwnd trace, when it is ended");
    finish(trace, &damaged)?;
    drop(service);
    let factor = damaged.took.as_secs_f64() / healthy.took.as_secs_f64();
    ensure!(
        damaged.told != damaged.used && factor > SLOWER,
        "the damaged connection was only {factor:.1} times slower"
    );
    Ok(())
}

fn title(text: &str) {
    println!("\n{text}");
}

fn connect(pair: &Pair) -> Result<Client> {
    Client::connect(&pair.client, SocketAddr::new(Pair::SERVER_V4, PORT))
}

/// Sets the largest receive buffer that the broker's sockets may get, in bytes.
fn set_rmem(pair: &Pair, bytes: u32) -> Result<()> {
    let value = format!("4096 131072 {bytes}");
    pair.server.set("net/ipv4/tcp_rmem", &value)
}

/// Makes a connection whose window scale is computed twice, the second time with `scale` as the
/// result.
fn damage(pair: &Pair, broker: &Broker, trace: &mut Agent, scale: u8) -> Result<Seen> {
    title("2. The same by SYN cookie, tcp_rmem raised while the producer's ACK is under way");
    pair.server.set("net/ipv4/tcp_syncookies", "2")?;
    let to = SocketAddr::new(Pair::SERVER_V4, PORT);
    // The scale is the buffer's number of bits beyond 16 (tcp_select_initial_window).
    let change = || set_rmem(pair, 1 << (15 + scale));
    let undo = || set_rmem(pair, 212_992);
    let client = held::connect(pair, to, change, undo)?;
    let begin = Instant::now();
    let port = client.address()?.port().to_string();
    let found = wait::until(PATIENCE, "the finding", || {
        let found = trace.lines().iter().find(|line| line.contains(&port));
        Ok(found.cloned())
    })?;
    println!(
        "  tcpwnd's words, {} ms after the client connected:",
        begin.elapsed().as_millis()
    );
    if let Some(header) = trace.lines().first() {
        println!("  {header}");
    }
    println!("  {found}");
    let seen = transfer("damaged", client, broker)?;
    println!("  {REQUEST} bytes took {:.2} s", seen.took.as_secs_f64());
    Ok(seen)
}

/// Sends the request, and asks both ends.
fn transfer(name: &'static str, mut client: Client, broker: &Broker) -> Result<Seen> {
    let address = client.address()?;
    let used = broker.wait_accepted_from(address)?.info.receive_scale;
    let took = client.request(REQUEST)?;
    let info = client.info()?;
    Ok(Seen {
        name,
        address,
        told: info.send_scale,
        used,
        window: info.send_window,
        took,
    })
}

fn show_metrics(listen: SocketAddr) -> Result<()> {
    let page = get(listen, "/metrics")?;
    let wanted = [
        "tcpwnd_window_scale_mismatches_total{",
        "tcpwnd_worst_shrink_factor{",
        "tcpwnd_lowest_throughput_ceiling_bytes_per_second{",
        "tcpwnd_syncookies_accepted_total{",
    ];
    let is_wanted = |line: &&str| wanted.iter().any(|name| line.starts_with(name));
    let mut count = 0;
    for line in page
        .lines()
        .filter(is_wanted)
        .filter(|line| !line.ends_with(" 0"))
    {
        println!("  {line}");
        count += 1;
    }
    ensure!(count > 0, "/metrics says nothing of the damage:\n{page}");
    Ok(())
}

fn side_by_side(all: &[&Seen]) {
    let row = |name: &str, value: &dyn Fn(&Seen) -> String| {
        let values: String = all
            .iter()
            .map(|seen| format!("{:>18}", value(seen)))
            .collect();
        println!("  {name:<34}{values}");
    };
    row("", &|seen| seen.name.to_owned());
    row("scale that the SYN+ACK said", &|seen| seen.told.to_string());
    row("scale that the socket uses", &|seen| seen.used.to_string());
    row("the client sees a window of", &|seen| {
        format!("{} B", seen.window)
    });
    row(&format!("{REQUEST} bytes took"), &|seen| {
        format!("{:.2} s", seen.took.as_secs_f64())
    });
}

fn finish(mut trace: Agent, damaged: &Seen) -> Result<()> {
    trace.signal(libc::SIGTERM)?;
    let before = trace.lines().len();
    let (lines, code) = trace.wait_end()?;
    let summary = &lines[before.min(lines.len())..];
    for line in summary.iter().filter(|line| !line.is_empty()) {
        println!("  {line}");
    }
    ensure!(code == 0, "tcpwnd ended with {code}");
    let port = damaged.address.port().to_string();
    let reported = lines.iter().find(|line| line.contains(&port));
    reported
        .map(|_| ())
        .context("the damaged connection was not reported")
}
