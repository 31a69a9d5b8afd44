//! A broker-like server: takes requests, each two lengths (4 bytes each, network order: of the
//! request, of the answer) and that many bytes, and answers each.
//!
//! Constraint: one thread, whatever the number of connections, and every byte is read as soon as
//! it arrives, so that a stalled transfer is never this server's doing.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ao;
use crate::md5;
use crate::net::Namespace;
use crate::poll::Poll;
use crate::socket::{self, ListenOptions, TcpInfo};
use crate::wait;

/// A connection that the server accepted, as it was at that moment.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    /// The client's address; IPv4-mapped ones as IPv4.
    pub peer: SocketAddr,
    /// What its socket said: the witness for the scale in use.
    pub info: TcpInfo,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    paused: AtomicBool,
    close_all: AtomicBool,
    /// SO_RCVBUF for connections as they are accepted, bytes; 0 leaves it as it is.
    receive_buffer: AtomicU32,
    accepted: Mutex<Vec<Accepted>>,
}

/// A running server. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Broker {
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts a server in a namespace.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(at: &Namespace, options: &ListenOptions) -> Result<Self> {
        Self::serve(at.enter(|| socket::listen(options))?)
    }

    /// Starts a server in the calling thread's own namespace.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start_here(options: &ListenOptions) -> Result<Self> {
        Self::serve(socket::listen(options)?)
    }

    fn serve(listener: TcpListener) -> Result<Self> {
        listener
            .set_nonblocking(true)
            .context("failed to make the listener non-blocking")?;
        let listener = Arc::new(listener);
        let shared = Arc::new(Shared::default());
        let mut server = Server {
            listener: Arc::clone(&listener),
            shared: Arc::clone(&shared),
            poll: Poll::new()?,
            clients: HashMap::new(),
        };
        server.poll.add(listener.as_fd())?;
        let thread = std::thread::spawn(move || server.run());
        Ok(Self {
            listener,
            shared,
            thread: Some(thread),
        })
    }

    /// Sets the listener's SO_RCVBUF, in bytes as an application passes it, `rmem_max` or not.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN.
    pub fn set_receive_buffer(&self, bytes: u32) -> Result<()> {
        socket::force_receive_buffer(&*self.listener, bytes)
    }

    /// Sets SO_RCVBUF of the connections that are accepted from now on, in bytes; `None`: they keep
    /// what they inherit.
    pub fn set_receive_buffer_of_accepted(&self, bytes: Option<u32>) {
        let bytes = bytes.unwrap_or(0);
        self.shared.receive_buffer.store(bytes, Ordering::Release);
    }

    /// Sets the listener's TCP_WINDOW_CLAMP, in bytes.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn set_window_clamp(&self, bytes: u32) -> Result<()> {
        socket::set_window_clamp(&*self.listener, bytes)
    }

    /// Sets the listener's SO_RCVLOWAT, in bytes.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn set_receive_low_water(&self, bytes: u32) -> Result<()> {
        socket::set_receive_low_water(&*self.listener, bytes)
    }

    /// Gives the listener the laboratory's key for segments to and from `peer` (TCP-AO).
    ///
    /// # Errors
    /// As [`ao::add_key`].
    pub fn add_ao_key(&self, peer: Ipv4Addr) -> Result<()> {
        ao::add_key(&*self.listener, peer)
    }

    /// Makes the listener want signed segments from `peer`, and sign its own (MD5).
    ///
    /// # Errors
    /// As [`md5::sign`].
    pub fn sign(&self, peer: Ipv4Addr) -> Result<()> {
        md5::sign(&*self.listener, peer)
    }

    /// Stops accepting, or goes on; connections wait in the accept queue meanwhile.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Release);
    }

    /// Closes all connections that are open now.
    ///
    /// # Errors
    /// When the server does not get to it.
    pub fn close_connections(&self) -> Result<()> {
        self.shared.close_all.store(true, Ordering::Release);
        wait::until_true(
            wait::PATIENCE,
            "the server to close its connections",
            || Ok(!self.shared.close_all.load(Ordering::Acquire)),
        )
    }

    /// Every connection accepted so far, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<Accepted> {
        lock(&self.shared.accepted).clone()
    }

    /// Waits until `count` connections have been accepted, and returns them all.
    ///
    /// # Errors
    /// When they do not come.
    pub fn wait_accepted(&self, count: usize) -> Result<Vec<Accepted>> {
        wait::until(
            wait::PATIENCE,
            &format!("{count} accepted connections"),
            || {
                let accepted = self.accepted();
                Ok((accepted.len() >= count).then_some(accepted))
            },
        )
    }

    /// Waits, for as long as it takes, until more than `known` connections have been accepted.
    ///
    /// # Errors
    /// Never; it waits forever instead.
    pub fn wait_accepted_more(&self, known: usize) -> Result<Vec<Accepted>> {
        wait::until(Duration::MAX, "a connection", || {
            let accepted = self.accepted();
            Ok((accepted.len() > known).then_some(accepted))
        })
    }

    /// Waits until the connection from `peer` has been accepted.
    ///
    /// # Errors
    /// When it does not come.
    pub fn wait_accepted_from(&self, peer: SocketAddr) -> Result<Accepted> {
        wait::until(wait::PATIENCE, &format!("a connection from {peer}"), || {
            Ok(self.accepted_from(peer))
        })
    }

    /// The last connection from `peer` that has been accepted so far.
    #[must_use]
    pub fn accepted_from(&self, peer: SocketAddr) -> Option<Accepted> {
        let accepted = lock(&self.shared.accepted);
        accepted.iter().rev().find(|one| one.peer == peer).copied()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("tcpwnd-lab: the server panicked");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Server {
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    poll: Poll,
    clients: HashMap<RawFd, Client>,
}

impl Server {
    fn run(&mut self) {
        let mut paused = false;
        while !self.shared.stop.load(Ordering::Acquire) {
            if self.shared.close_all.load(Ordering::Acquire) {
                self.clients.clear();
                self.shared.close_all.store(false, Ordering::Release);
            }
            let pause = self.shared.paused.load(Ordering::Acquire);
            if pause != paused {
                paused = pause;
                let listener = self.listener.as_fd();
                let done = if pause {
                    self.poll.remove(listener)
                } else {
                    self.poll.add(listener)
                };
                if let Err(error) = done {
                    eprintln!("tcpwnd-lab: server: {error:#}");
                }
            }
            for ready in self.poll.wait(Duration::from_millis(5)) {
                if ready == self.listener.as_raw_fd() {
                    self.accept();
                } else if !self.clients.get_mut(&ready).is_some_and(Client::go_on) {
                    self.clients.remove(&ready);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, peer)) = self.listener.accept() {
            let Ok(info) = TcpInfo::of(&stream) else {
                continue;
            };
            let bytes = self.shared.receive_buffer.load(Ordering::Acquire);
            if bytes > 0
                && let Err(error) = socket::force_receive_buffer(&stream, bytes)
            {
                eprintln!("tcpwnd-lab: server: {error:#}");
            }
            lock(&self.shared.accepted).push(Accepted {
                peer: socket::canonical(peer),
                info,
            });
            if stream.set_nonblocking(true).is_ok() && self.poll.add(stream.as_fd()).is_ok() {
                self.clients.insert(stream.as_raw_fd(), Client::new(stream));
            }
        }
    }
}

/// Length of a request's header, in bytes.
pub const HEADER: usize = 8;

/// Longest answer, in bytes: what fits into any kernel's empty send buffer, so that writing it
/// never blocks.
pub const LONGEST_ANSWER: u32 = 8192;

/// The request with these lengths, in bytes.
#[must_use]
pub fn encode(size: u32, answer: u32) -> Vec<u8> {
    let mut request = [size.to_be_bytes(), answer.to_be_bytes()].concat();
    request.resize(HEADER + size as usize, 0x2a);
    request
}

/// One connection: reads a header, then a request, then answers with its length and as many
/// further bytes as it asked for.
struct Client {
    stream: TcpStream,
    header: Vec<u8>,
    remaining: u32,
    size: u32,
    answer: u32,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            header: Vec::new(),
            remaining: 0,
            size: 0,
            answer: 0,
        }
    }

    /// Reads what is there; false when the connection is over.
    fn go_on(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    if !self.take(&buffer[..count]) {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.remaining == 0 {
                let missing = HEADER - self.header.len();
                let (head, rest) = bytes.split_at(missing.min(bytes.len()));
                self.header.extend_from_slice(head);
                bytes = rest;
                let Ok(header) = <[u8; HEADER]>::try_from(self.header.as_slice()) else {
                    continue;
                };
                self.header.clear();
                let [a, b, c, d, e, f, g, h] = header;
                self.size = u32::from_be_bytes([a, b, c, d]);
                self.answer = u32::from_be_bytes([e, f, g, h]).min(LONGEST_ANSWER);
                self.remaining = self.size;
            }
            let count = (self.remaining as usize).min(bytes.len());
            bytes = &bytes[count..];
            self.remaining -= count as u32;
            if self.remaining == 0 && self.say().is_err() {
                return false;
            }
        }
        true
    }

    fn say(&mut self) -> io::Result<()> {
        let mut answer = self.size.to_be_bytes().to_vec();
        answer.resize(self.answer.max(4) as usize, 0x2a);
        self.stream.write_all(&answer)
    }
}
