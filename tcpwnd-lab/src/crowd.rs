//! Many connections that do nothing, both ends of them here: something to list.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::socket::{self, Family, ListenOptions};

/// Connections from one address: fewer than there are ephemeral ports.
const PER_ADDRESS: usize = 20_000;

/// The connections, for as long as this lives.
#[derive(Debug)]
pub struct Crowd {
    _listener: TcpListener,
    _ends: Vec<TcpStream>,
}

impl Crowd {
    /// Makes `count` connections over the loopback device of the calling thread's namespace.
    ///
    /// # Errors
    /// When the port is taken, or there are not enough descriptors.
    pub fn gather(port: u16, count: usize) -> Result<Self> {
        raise_descriptor_limit(2 * count as u64 + 64)?;
        let listener = socket::listen(&ListenOptions {
            family: Family::V4,
            port,
            ..ListenOptions::default()
        })?;
        let mut ends = Vec::with_capacity(2 * count);
        for number in 0..count {
            // Another address of this host when the ports of the first are used up.
            let last = 1 + u8::try_from(number / PER_ADDRESS).context("too many connections")?;
            let to = SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), port);
            let client = TcpStream::connect(to).context("failed to connect")?;
            let (server, _) = listener.accept().context("failed to accept")?;
            ends.extend([client, server]);
        }
        Ok(Self {
            _listener: listener,
            _ends: ends,
        })
    }
}

/// Gathers a crowd, runs a command beside it, and says whether that was content.
///
/// # Errors
/// As [`Crowd::gather`], and when there is no such command.
pub fn run(port: u16, count: usize, command: &[String]) -> Result<bool> {
    let crowd = Crowd::gather(port, count)?;
    eprintln!("tcpwnd-lab: {count} connections are open");
    let (program, arguments) = command.split_first().context("no command")?;
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("failed to start {program}"))?;
    drop(crowd);
    Ok(status.success())
}

/// Lets this process have at least this many descriptors.
///
/// # Errors
/// Beyond the hard limit without CAP_SYS_RESOURCE.
pub fn raise_descriptor_limit(wanted: u64) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to what the call fills, and outlives it.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_cur.max(wanted);
    limit.rlim_max = limit.rlim_max.max(wanted);
    // SAFETY: the pointer is to what the call wants, and outlives it.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    ensure!(
        read == 0 && done == 0,
        "failed to raise the limit of descriptors to {wanted}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}
