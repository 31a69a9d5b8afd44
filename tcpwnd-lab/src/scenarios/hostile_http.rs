//! 1,000 HTTP clients that mean no good, a hundred at a time and all of them staying, while others
//! connect to a watched server and somebody scrapes: scrapes are answered in time, memory and
//! descriptors stay within bounds, and no handshake is lost.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::open_now::free_address;
use super::stage::{Stage, unlocked};
use crate::http::{get, metric};
use crate::wait::{self, PATIENCE};

const WAVES: u16 = 10;
const WAVE: usize = 100;

/// Handshakes with the watched server in each wave.
const HANDSHAKES: u16 = 5;

/// How long a scrape may take while they are there.
const IN_TIME: Duration = Duration::from_secs(1);

/// How much resident memory may grow, bytes (docs/http.md).
const GROWTH: f64 = 8.0 * 1024.0 * 1024.0;

/// Most connections at a time, as the agent says itself.
const CONNECTIONS: f64 = 64.0;

pub fn play(bench: &Bench) -> Result<String> {
    let _limit = Descriptors::raise()?;
    let stage = Stage::new(&unlocked(), &[])?;
    let listen = free_address()?;
    let mut agent = bench.launch.serve(listen, &[])?;
    // The first ones make what later ones find.
    let mut undisturbed = Duration::ZERO;
    for _ in 0..5 {
        undisturbed = undisturbed.max(scrape(listen)?.1);
    }
    let before = get(listen, "/metrics")?;
    // An emulated machine, on which a scrape takes long anyway, has as many others to get through.
    let in_time = IN_TIME.max(50 * undisturbed);

    let mut clients = Vec::new();
    let (mut slowest, mut largest) = (Duration::ZERO, 0.0_f64);
    for wave in 0..WAVES {
        clients.extend(
            (0..WAVE)
                .map(|number| Hostile::new(listen, number))
                .collect::<Result<Vec<_>>>()?,
        );
        clients.iter_mut().for_each(Hostile::go_on);
        for number in 1..=HANDSHAKES {
            stage.peer(wave * HANDSHAKES + number).connect()?;
        }
        let (page, took) = scrape_in_time(listen, in_time)?;
        slowest = slowest.max(took);
        largest = largest.max(metric(&page, "process_resident_memory_bytes", &[])?);
        let open = metric(&page, "tcpwnd_http_connections", &[])?;
        ensure!(open <= CONNECTIONS, "{open} connections are open");
    }
    let refused = clients
        .iter_mut()
        .map(Hostile::check)
        .sum::<Result<usize>>()?;
    let page = get(listen, "/metrics")?;
    let grown = largest - metric(&before, "process_resident_memory_bytes", &[])?;
    ensure!(grown <= GROWTH, "resident memory grew by {grown} bytes");
    let displaced = metric(&page, "tcpwnd_http_connections_displaced_total", &[])?;
    // How many depends on the machine: the silent ones go by themselves after five seconds.
    ensure!(displaced > 0.0, "nobody had to make room");

    drop(clients);
    let descriptors = |page: &str| metric(page, "process_open_fds", &[]);
    let expected = descriptors(&before)?;
    wait::until_true(PATIENCE, "the descriptors to go", || {
        Ok(descriptors(&get(listen, "/metrics")?)? == expected)
    })?;
    let handshakes = f64::from(WAVES * HANDSHAKES);
    let page = get(listen, "/metrics")?;
    let seen = metric(&page, "tcpwnd_handshakes_total", &[])?;
    let lost = metric(&page, "tcpwnd_events_lost_total", &[])?;
    ensure!(
        (seen, lost) == (handshakes, 0.0),
        "{handshakes} handshakes, {seen} seen, {lost} events lost"
    );
    agent.signal(libc::SIGTERM)?;
    let (_, code) = agent.wait_end()?;
    ensure!(code == 0, "tcpwnd ended with {code}");
    Ok(format!(
        "slowest scrape {slowest:.0?} (undisturbed {undisturbed:.0?}), {:.1} MB more, \
         {displaced} displaced, {refused} refused",
        grown / 1e6
    ))
}

fn scrape(from: SocketAddr) -> Result<(String, Duration)> {
    let begun = Instant::now();
    Ok((get(from, "/metrics")?, begun.elapsed()))
}

/// A second try is for the machine, which may have been busy with something else: whoever is kept
/// out by others is so both times.
fn scrape_in_time(from: SocketAddr, in_time: Duration) -> Result<(String, Duration)> {
    let first = scrape(from)?;
    if first.1 <= in_time {
        return Ok(first);
    }
    let second = scrape(from)?;
    ensure!(
        second.1 <= in_time,
        "scrapes took {:?} and {:?}, more than {in_time:?}",
        first.1,
        second.1
    );
    Ok(second)
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Says nothing at all.
    Silent,
    /// Sends the head of a request byte by byte.
    Slow,
    /// Sends a head that does not end.
    Huge,
    /// Sends half a request, and that it sends no more.
    Half,
    /// Sends hundreds of requests and reads no answer.
    Pipelining,
    /// Asks for a file of the host.
    Traversing,
    /// Announces a body that does not come.
    Bodiless,
    /// Speaks TLS.
    Garbage,
    /// Asks for as many findings as there can be, and reads none.
    Greedy,
    /// Opens a request and resets the connection.
    Resetting,
}

const KINDS: [Kind; 10] = [
    Kind::Silent,
    Kind::Slow,
    Kind::Huge,
    Kind::Half,
    Kind::Pipelining,
    Kind::Traversing,
    Kind::Bodiless,
    Kind::Garbage,
    Kind::Greedy,
    Kind::Resetting,
];

/// Ways to a file outside of the pages.
const PATHS: [&str; 4] = [
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "//etc/passwd",
    "/metrics/../../etc/passwd",
];

/// A client that means no good.
struct Hostile {
    stream: Option<TcpStream>,
    kind: Kind,
    sent: usize,
}

impl Hostile {
    fn new(to: SocketAddr, number: usize) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).context("failed to connect")?;
        stream
            .set_nonblocking(true)
            .context("failed to set up a socket")?;
        let kind = KINDS[number % KINDS.len()];
        let mut own = Self {
            stream: Some(stream),
            kind,
            sent: 0,
        };
        let request = match kind {
            Kind::Silent | Kind::Slow => String::new(),
            Kind::Huge => format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000)),
            Kind::Half => "GET /metrics HTTP/1.1\r\nHos".to_owned(),
            Kind::Pipelining => "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500),
            Kind::Traversing => {
                let path = PATHS[number / KINDS.len() % PATHS.len()];
                format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            }
            Kind::Bodiless => {
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".to_owned()
            }
            Kind::Garbage => "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n".to_owned(),
            Kind::Greedy => {
                "GET /api/v1/findings?limit=1000000 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100)
            }
            Kind::Resetting => "GET /metrics HTTP/1.1\r\nHost: x\r\n".to_owned(),
        };
        own.send(request.as_bytes());
        match kind {
            Kind::Half => own.with(|stream| stream.shutdown(std::net::Shutdown::Write)),
            Kind::Resetting => {
                if let Some(stream) = &own.stream {
                    crate::socket::reset_on_close(stream)?;
                }
                own.stream = None;
            }
            _ => {}
        }
        Ok(own)
    }

    /// Whatever comes of it: the agent may have closed the connection.
    fn with<T>(&mut self, act: impl FnOnce(&mut TcpStream) -> std::io::Result<T>) {
        if let Some(stream) = &mut self.stream {
            let _ = act(stream);
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.with(|stream| stream.write(bytes));
    }

    /// The slow ones send another byte.
    fn go_on(&mut self) {
        if self.kind == Kind::Slow {
            let head = b"GET /metrics HTTP/1.1\r\nHost: somebody\r\n";
            self.send(&head[self.sent..=self.sent]);
            self.sent = (self.sent + 1).min(head.len() - 1);
        }
    }

    /// Checks that no file of the host, and no answer but a refusal, came to those that are to be
    /// refused; 1 where that refusal was read.
    fn check(&mut self) -> Result<usize> {
        let refusals = [Kind::Huge, Kind::Traversing, Kind::Bodiless, Kind::Garbage];
        let Some(stream) = self
            .stream
            .as_mut()
            .filter(|_| refusals.contains(&self.kind))
        else {
            return Ok(0);
        };
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The end, a reset, or nothing yet: those displaced first never get an answer.
                Ok(0) | Err(_) => break,
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        ensure!(
            !answer.contains("200 OK") && !answer.contains("root:"),
            "a {:?} client was answered {answer}",
            self.kind
        );
        Ok(usize::from(answer.starts_with("HTTP/1.1 4")))
    }
}

/// The limit on open files, raised as long as this lives.
struct Descriptors(libc::rlimit);

impl Descriptors {
    fn raise() -> Result<Self> {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the pointer is to what the call fills.
        let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        ensure!(known == 0, "failed to read the limit on open files");
        let own = Self(limit);
        limit.rlim_cur = limit.rlim_max;
        set(&limit)?;
        Ok(own)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        if let Err(error) = set(&self.0) {
            eprintln!("tcpwnd-lab: {error:#}");
        }
    }
}

fn set(limit: &libc::rlimit) -> Result<()> {
    // SAFETY: the pointer is to what the call reads.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const *limit) };
    ensure!(done == 0, "failed to set the limit on open files");
    Ok(())
}
