//! As many clients as the broker of the talk had come back all at once, to a broker and an agent with
//! their defaults.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::tell;
use super::watcher::{books, start_agent};
use crate::agent::Mechanism;
use crate::broker::{self, Broker};
use crate::crowd::raise_descriptor_limit;
use crate::net::{Pair, PairOptions};
use crate::poll::Poll;
use crate::scenarios::free_address;
use crate::socket::{self, ListenOptions};

/// How many there are.
const CLIENTS: usize = 18_000;

/// Half of the round trip: most SYNs are on their way before the first ACK comes.
const DELAY: Duration = Duration::from_millis(250);

/// Size of a client's request, in bytes.
const REQUEST: u32 = 100;

/// How long all of it may take: an emulated machine, and SYNs that are repeated ever more seldom.
const PATIENCE: Duration = Duration::from_secs(540);

/// How often what happens is told on stderr.
const TELL: Duration = Duration::from_secs(20);

/// Lets the storm pass, and tells what the agent made of it.
///
/// # Errors
/// When a client has no answer in the end, or the agent's books are not about the connections that the
/// broker accepted.
pub fn measure() -> Result<()> {
    raise_descriptor_limit(2 * CLIENTS as u64 + 1_024)?;
    let pair = Pair::new(PairOptions { delay: DELAY })?;
    pair.server.set("net/ipv4/tcp_syncookies", "1")?;
    let broker = Broker::start(&pair.server, &ListenOptions::default())?;
    let agent = start_agent(Mechanism::Auto, free_address()?)?;
    let begun = Instant::now();
    let (clients, returned) = pair.client.enter(|| {
        let mut storm = Storm::begin()?;
        storm.pass()?;
        Ok((storm.served, storm.returned))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let books = books(agent)?;
    let count = |name: &str| books.get(name).copied().context("the books lack a column");
    let accepted = broker.accepted().len() as u64;
    let handshakes = count("handshakes")?;
    ensure!(
        handshakes == accepted,
        "{accepted} connections were accepted, and {handshakes} handshakes are in the books"
    );
    tell(&json!({
        "figure": "storm", "clients": clients.len(), "accepted": accepted, "returned": returned,
        "seconds": seconds, "damaged": count("mismatch")? + count("scale_lost")?,
        "unverified": count("unverified")?, "lost": count("lost")?,
    }));
    Ok(())
}

/// Clients, each of which sends a request as soon as it is connected and waits for the answer. One that
/// is reset or gets no answer to its SYNs connects again, as producers do (crate::producers says why
/// there are such).
struct Storm {
    poll: Poll,
    /// Those without answer, and whether they have asked.
    waiting: HashMap<RawFd, (TcpStream, bool)>,
    served: Vec<TcpStream>,
    returned: u64,
}

impl Storm {
    fn begin() -> Result<Self> {
        let mut storm = Self {
            poll: Poll::new()?,
            waiting: HashMap::new(),
            served: Vec::new(),
            returned: 0,
        };
        (0..CLIENTS).try_for_each(|_| storm.connect())?;
        Ok(storm)
    }

    fn connect(&mut self) -> Result<()> {
        let to = SocketAddr::new(Pair::SERVER_V4, 9092);
        let client = TcpStream::from(socket::connect_from(0, to)?);
        self.poll.add_connecting(client.as_fd())?;
        self.waiting.insert(client.as_raw_fd(), (client, false));
        Ok(())
    }

    /// Returns when every client has an answer.
    fn pass(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut told = begun;
        while !self.waiting.is_empty() {
            for ready in self.poll.wait(Duration::from_secs(1)) {
                self.go_on(ready)?;
            }
            let (served, waiting) = (self.served.len(), self.waiting.len());
            ensure!(
                begun.elapsed() < PATIENCE,
                "{served} clients have their answer and {waiting} have none"
            );
            if told.elapsed() >= TELL {
                let (seconds, returned) = (begun.elapsed().as_secs(), self.returned);
                eprintln!("tcpwnd-lab: {seconds} s: {served} served, {returned} came once more");
                told = Instant::now();
            }
        }
        Ok(())
    }

    /// What a client does that can do something.
    fn go_on(&mut self, ready: RawFd) -> Result<()> {
        let Some((mut client, asked)) = self.waiting.remove(&ready) else {
            bail!("there is no client {ready}");
        };
        let done = if asked {
            receive(&mut client)
        } else {
            client.write_all(&broker::encode(REQUEST, 4))
        };
        match done {
            Ok(()) if asked => {
                self.poll.remove(client.as_fd())?;
                self.served.push(client);
            }
            Ok(()) => {
                self.poll.expect_data(client.as_fd())?;
                self.waiting.insert(ready, (client, true));
            }
            Err(error) if is_no_answer(&error) => {
                drop(client);
                self.returned += 1;
                self.connect()?;
            }
            Err(error) => return Err(error).context("a client failed"),
        }
        Ok(())
    }
}

/// The answer, which is about the request.
fn receive(client: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 4];
    client.read_exact(&mut answer)?;
    if u32::from_be_bytes(answer) != REQUEST {
        return Err(io::Error::other("the server counted another request"));
    }
    Ok(())
}

fn is_no_answer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::TimedOut
    )
}
