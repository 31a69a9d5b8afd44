//! A broker that is restarted, and its producers: clients of the kernel's own stack, far enough away
//! that a storm of them falls into one round trip.
//!
//! Constraint: what is damaged is what the sockets of both ends say, never what tcpwnd says.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::broker::Broker;
use crate::client::{Client, is_reset};
use crate::net::{Namespace, Pair, PairOptions};
use crate::scenarios::{RMEM, rmem};
use crate::socket::{self, ListenOptions};
use crate::wait::{self, PATIENCE};
use crate::witness;

/// Where the broker listens.
pub const PORT: u16 = 9092;

/// How many producers there are.
pub const COUNT: usize = 200;

/// How many connect at a time when there is no storm: fewer than the broker's backlog.
pub const AT_A_TIME: usize = 20;

/// Half of the round trip. The last of a storm's SYNs has to find the queue full of the first ones,
/// and an emulated machine takes its time over each.
pub const DELAY: Duration = Duration::from_millis(250);

/// Cookies of a storm after which a sound kernel's setting is changed: nearly all that there will be.
const COOKIES: u64 = COUNT as u64 - 60;

/// How often those that were reset come back, until one more is a failure.
///
/// A machine that takes more than a second for a storm makes clients repeat their SYNs. Where the first
/// one was answered with a cookie and the second one has a request, the client answers the second SYN+ACK,
/// which has another sequence number, with a challenge ACK. That one is behind the client's data, so
/// that it is no cookie's ACK, and the listener answers it with a RST. Seen on 5.10: of 200 clients 43
/// were reset, and OutRsts, `SyncookiesFailed`, TCPTimeouts and `EmbryonicRsts` (the repeated SYN+ACKs'
/// answers) were 43 each. The counters are all that was seen: the order of packets is concluded from
/// them and from what `__cookie_v4_check` compares (net/ipv4/syncookies.c).
const ROUNDS: usize = 5;

/// Size of a producer's request, in bytes: a damaged window holds it.
const REQUEST: u32 = 100;

/// `tcp_rmem[2]` of a sound kernel before and during the storm, in bytes: window scales 2 and 8.
const RMEM_BEFORE: u32 = 212_992;
const RMEM_RAISED: u32 = 8 << 20;

/// The two ends of the link.
pub struct Producers {
    pair: Pair,
    broker: Option<Broker>,
    listen: ListenOptions,
    affected: bool,
    /// By brokers that were closed.
    accepted_before: usize,
    /// Clients that were reset in a storm, and came back.
    resets: AtomicUsize,
}

impl Producers {
    /// Sets up the link and starts the broker.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub fn new(affected: bool) -> Result<Self> {
        let pair = Pair::new(PairOptions { delay: DELAY })?;
        pair.server.set("net/ipv4/tcp_syncookies", "1")?;
        let mut listen = ListenOptions::default();
        if !affected {
            listen.receive_buffer = None;
            pair.server.set(RMEM, &rmem(RMEM_BEFORE))?;
        }
        Ok(Self {
            broker: Some(Broker::start(&pair.server, &listen)?),
            pair,
            listen,
            affected,
            accepted_before: 0,
            resets: AtomicUsize::new(0),
        })
    }

    /// Connections that the brokers have accepted so far.
    pub fn accepted(&self) -> usize {
        let now = self.broker.iter().map(|broker| broker.accepted().len());
        self.accepted_before + now.sum::<usize>()
    }

    /// Clients that were reset in storms so far, and came back.
    pub fn resets(&self) -> usize {
        self.resets.load(Ordering::Relaxed)
    }

    /// Where the broker is.
    pub fn at(&self) -> &Namespace {
        &self.pair.server
    }

    /// Closes the broker's connections and its listener, and the clients' ends; opens it again.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn restart_broker(&mut self, clients: Vec<Client>) -> Result<()> {
        // The port is free only when the old one has ended.
        self.accepted_before += self
            .broker
            .take()
            .map_or(0, |broker| broker.accepted().len());
        drop(clients);
        if !self.affected {
            self.pair.server.set(RMEM, &rmem(RMEM_BEFORE))?;
        }
        self.broker = Some(Broker::start(&self.pair.server, &self.listen)?);
        Ok(())
    }

    /// This many clients connect, few at a time, and each has an answer; `between` is called after
    /// each time.
    ///
    /// # Errors
    /// When one has none, or `between` fails.
    pub fn connect_gently(
        &self,
        count: usize,
        mut between: impl FnMut() -> Result<()>,
    ) -> Result<Vec<Client>> {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let (served, reset) = serve(self.begin(AT_A_TIME.min(count - all.len()))?)?;
            ensure!(reset.is_empty(), "{} were reset", reset.len());
            all.extend(served);
            between()?;
        }
        Ok(all)
    }

    /// All clients connect at once, and each has an answer in the end: one that was reset connects
    /// again, as producers do. Of such connections those are returned too that the broker has accepted.
    ///
    /// # Errors
    /// When one has none.
    pub fn storm(&self) -> Result<Vec<Client>> {
        let sent = || witness::counter(&self.pair.server, "TcpExt", "SyncookiesSent");
        let before = sent()?;
        let clients = self.begin(COUNT)?;
        if !self.affected {
            wait::until_true(PATIENCE, "the storm's cookies", || {
                Ok(sent()? >= before + COOKIES)
            })?;
            self.pair.server.set(RMEM, &rmem(RMEM_RAISED))?;
        }
        let (mut all, mut reset) = serve(clients)?;
        let mut gone = Vec::new();
        for _ in 0..ROUNDS {
            if reset.is_empty() {
                break;
            }
            let (served, again) = serve(self.begin(reset.len())?)?;
            all.extend(served);
            gone.append(&mut reset);
            reset = again;
        }
        ensure!(
            reset.is_empty(),
            "{} and then {} were reset: {}",
            gone.len(),
            reset.len(),
            self.said()?
        );
        self.resets.fetch_add(gone.len(), Ordering::Relaxed);
        for client in gone {
            if self.broker()?.accepted_from(client.address()?).is_some() {
                all.push(client);
            }
        }
        Ok(all)
    }

    /// What the server's kernel counted of what could reset a client.
    fn said(&self) -> Result<String> {
        let counters = [
            ("Tcp", "OutRsts"),
            ("Tcp", "AttemptFails"),
            ("Tcp", "EstabResets"),
            ("TcpExt", "SyncookiesSent"),
            ("TcpExt", "SyncookiesRecv"),
            ("TcpExt", "SyncookiesFailed"),
            ("TcpExt", "ListenOverflows"),
            ("TcpExt", "TCPAbortOnData"),
            ("TcpExt", "TCPAbortOnClose"),
            ("TcpExt", "TCPTimeouts"),
            ("TcpExt", "EmbryonicRsts"),
        ];
        let say = |(group, name): (&str, &str)| {
            let count = witness::counter(&self.pair.server, group, name)?;
            Ok(format!("{name} {count}"))
        };
        let all: Result<Vec<_>> = counters.into_iter().map(say).collect();
        Ok(all?.join(", "))
    }

    fn broker(&self) -> Result<&Broker> {
        self.broker.as_ref().context("there is no broker")
    }

    /// Begins to connect this many.
    fn begin(&self, count: usize) -> Result<Vec<Client>> {
        let to = SocketAddr::new(Pair::SERVER_V4, PORT);
        let begin = |_| Client::adopt(TcpStream::from(socket::connect_from(0, to)?));
        self.pair.client.enter(|| (0..count).map(begin).collect())
    }

    /// The sound and the damaged: those whose scale as they were told is not the broker's.
    ///
    /// # Errors
    /// When the broker does not know one.
    pub fn sort(&self, clients: Vec<Client>) -> Result<(Vec<Client>, Vec<Client>)> {
        let broker = self.broker()?;
        let (mut sound, mut damaged) = (Vec::new(), Vec::new());
        for client in clients {
            let accepted = broker.wait_accepted_from(client.address()?)?;
            if client.info()?.send_scale == accepted.info.receive_scale {
                sound.push(client);
            } else {
                damaged.push(client);
            }
        }
        Ok((sound, damaged))
    }
}

/// Each sends a request, as soon as it is connected, and waits for the answer; those that had one, and
/// those that were reset.
fn serve(mut clients: Vec<Client>) -> Result<(Vec<Client>, Vec<Client>)> {
    let answers: Vec<Result<Duration>> = std::thread::scope(|scope| {
        let requests: Vec<_> = clients
            .iter_mut()
            .map(|client| scope.spawn(|| client.request(REQUEST)))
            .collect();
        let end = |request: std::thread::ScopedJoinHandle<'_, _>| request.join().ok();
        requests.into_iter().map(end).collect::<Option<_>>()
    })
    .context("a client panicked")?;
    let (mut served, mut reset) = (Vec::new(), Vec::new());
    for (client, answer) in clients.into_iter().zip(answers) {
        match answer {
            Ok(_) => served.push(client),
            Err(error) if is_reset(&error) => reset.push(client),
            Err(error) => return Err(error),
        }
    }
    Ok((served, reset))
}
