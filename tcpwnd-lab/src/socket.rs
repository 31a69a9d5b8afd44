//! Sockets with what the standard library leaves out: options, backlog, TCP_INFO.
//!
//! Constraint: nothing else calls `setsockopt` and `getsockopt`.

mod info;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};

pub use info::TcpInfo;

/// Which addresses a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// An AF_INET socket on 0.0.0.0.
    V4,
    /// An AF_INET6 socket on ::, IPv6 only.
    V6,
    /// An AF_INET6 socket on ::, IPv4 as well: what a JVM opens.
    Dual,
}

/// How a listener is opened.
#[derive(Debug, Clone, Copy)]
pub struct ListenOptions {
    /// Addresses that it takes.
    pub family: Family,
    /// Local port.
    pub port: u16,
    /// SO_RCVBUF in bytes as the application passes it (the kernel doubles it), or none.
    pub receive_buffer: Option<u32>,
    /// Backlog, in connections.
    pub backlog: u32,
    /// Length of the Fast Open queue, in connections; 0 leaves Fast Open off.
    pub fast_open: u32,
    /// SO_REUSEPORT: others may listen beside it.
    pub reuse_port: bool,
    /// TCP_DEFER_ACCEPT: how long a connection waits for its first data, in seconds; 0 not at all.
    pub defer_accept: u32,
    /// Multipath TCP (RFC 8684), for clients that speak it.
    pub mptcp: bool,
}

impl Default for ListenOptions {
    /// Kafka's defaults: dual stack, `socket.receive.buffer.bytes` 102400,
    /// `socket.listen.backlog.size` 50.
    fn default() -> Self {
        Self {
            family: Family::Dual,
            port: 9092,
            receive_buffer: Some(102_400),
            backlog: 50,
            fast_open: 0,
            reuse_port: false,
            defer_accept: 0,
            mptcp: false,
        }
    }
}

/// Opens a listener in the calling thread's network namespace.
///
/// # Errors
/// What the kernel refuses, with the step's name.
pub fn listen(options: &ListenOptions) -> Result<TcpListener> {
    let domain = if options.family == Family::V4 {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let protocol = if options.mptcp {
        libc::IPPROTO_MPTCP
    } else {
        libc::IPPROTO_TCP
    };
    let socket = open_by(protocol, domain, 0)?;
    if domain == libc::AF_INET6 {
        let only_v6 = i32::from(options.family == Family::V6);
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only_v6)?;
    }
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if options.reuse_port {
        set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    // Before listen(), as Kafka does: the SYN+ACK's window scale depends on it.
    if let Some(bytes) = options.receive_buffer {
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, to_int(bytes)?)?;
    }
    bind_any(&socket, domain, options.port)?;
    if options.fast_open > 0 {
        set(
            &socket,
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            to_int(options.fast_open)?,
        )?;
    }
    if options.defer_accept > 0 {
        let seconds = to_int(options.defer_accept)?;
        set(&socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)?;
    }
    // SAFETY: takes a descriptor by value.
    if unsafe { libc::listen(socket.as_raw_fd(), to_int(options.backlog)?) } != 0 {
        return Err(io::Error::last_os_error()).context("failed to listen");
    }
    Ok(TcpListener::from(socket))
}

fn bind_any(socket: &impl AsFd, domain: i32, port: u16) -> Result<()> {
    let descriptor = socket.as_fd().as_raw_fd();
    let done = if domain == libc::AF_INET {
        // SAFETY: all-zero is a valid sockaddr_in.
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_port = port.to_be();
        // SAFETY: the pointer and the size are those of `address`, which outlives the call.
        unsafe {
            libc::bind(
                descriptor,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        }
    } else {
        // SAFETY: all-zero is a valid sockaddr_in6.
        let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        address.sin6_port = port.to_be();
        // SAFETY: as above.
        unsafe {
            libc::bind(
                descriptor,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        }
    };
    if done != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("failed to bind to port {port}"));
    }
    Ok(())
}

/// Begins to connect from a local port over IPv4, without waiting for the end of it.
///
/// # Errors
/// What the kernel refuses.
pub fn connect_from(port: u16, to: SocketAddr) -> Result<OwnedFd> {
    connect_prepared(port, to, |_| Ok(()))
}

/// The same with a socket that was prepared before.
///
/// # Errors
/// As [`connect_from`], and what `prepare` returns.
pub fn connect_prepared(
    port: u16,
    to: SocketAddr,
    prepare: impl Fn(&OwnedFd) -> Result<()>,
) -> Result<OwnedFd> {
    let SocketAddr::V4(to) = to else {
        bail!("{to} is no IPv4 address")
    };
    let socket = open(libc::AF_INET, libc::SOCK_NONBLOCK)?;
    prepare(&socket)?;
    bind_any(&socket, libc::AF_INET, port)?;
    let address = sockaddr_in(to);
    let size = size_of_val(&address) as u32;
    // SAFETY: the pointer and the size are those of `address`, which outlives the call.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size) };
    let error = io::Error::last_os_error();
    if done != 0 && error.raw_os_error() != Some(libc::EINPROGRESS) {
        return Err(error).with_context(|| format!("failed to connect to {to}"));
    }
    Ok(socket)
}

/// Begins to connect a socket that is being restored, as CRIU does (TCP_REPAIR): it is established at
/// once, without a packet.
///
/// # Errors
/// Without CAP_NET_ADMIN.
pub fn connect_restored(port: u16, to: SocketAddr) -> Result<OwnedFd> {
    // include/uapi/linux/tcp.h
    const TCP_REPAIR: i32 = 19;
    connect_prepared(port, to, |socket| {
        set(socket, libc::IPPROTO_TCP, TCP_REPAIR, 1)
    })
}

/// Connects over IPv4 with Fast Open: the SYN carries `bytes`. Does not wait for the SYN+ACK.
///
/// # Errors
/// What the kernel refuses.
pub fn connect_fast_open(to: SocketAddr, bytes: &[u8]) -> Result<TcpStream> {
    let SocketAddr::V4(to) = to else {
        bail!("{to} is no IPv4 address")
    };
    let socket = open(libc::AF_INET, 0)?;
    let address = sockaddr_in(to);
    // SAFETY: pointers and sizes are those of `bytes` and `address`, which outlive the call.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_FASTOPEN,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    };
    if sent != bytes.len().cast_signed() {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("failed to connect to {to} with Fast Open"));
    }
    Ok(TcpStream::from(socket))
}

/// Connects over IPv4 by multipath TCP.
///
/// # Errors
/// What the kernel refuses: one that was built without it, everything.
pub fn connect_mptcp(to: SocketAddr) -> Result<TcpStream> {
    let SocketAddr::V4(to) = to else {
        bail!("{to} is no IPv4 address")
    };
    let socket = open_by(libc::IPPROTO_MPTCP, libc::AF_INET, 0)?;
    let address = sockaddr_in(to);
    let size = size_of_val(&address) as u32;
    // SAFETY: the pointer and the size are those of `address`, which outlives the call.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size) };
    if done != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("failed to connect to {to} by MPTCP"));
    }
    Ok(TcpStream::from(socket))
}

/// Writes an IPv4 address without a port to where the kernel expects one of any family.
pub fn store_v4(into: &mut libc::sockaddr_storage, address: Ipv4Addr) {
    let address = sockaddr_in(SocketAddrV4::new(address, 0));
    // SAFETY: a sockaddr_storage has room and alignment for any address.
    unsafe { (&raw mut *into).cast::<libc::sockaddr_in>().write(address) };
}

fn sockaddr_in(from: SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: all-zero is a valid sockaddr_in.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = from.port().to_be();
    address.sin_addr.s_addr = u32::from(*from.ip()).to_be();
    address
}

fn open(domain: i32, flags: i32) -> Result<OwnedFd> {
    open_by(libc::IPPROTO_TCP, domain, flags)
}

fn open_by(protocol: i32, domain: i32, flags: i32) -> Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags;
    // SAFETY: takes no pointer.
    let descriptor = unsafe { libc::socket(domain, kind, protocol) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error()).context("failed to create a socket");
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Sets SO_RCVBUF beyond `rmem_max`, so that no setting of the whole machine has to change.
///
/// # Errors
/// Without CAP_NET_ADMIN.
pub fn force_receive_buffer(socket: &impl AsFd, bytes: u32) -> Result<()> {
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_RCVBUFFORCE,
        to_int(bytes)?,
    )
}

/// Sets TCP_WINDOW_CLAMP.
///
/// # Errors
/// What the kernel refuses.
pub fn set_window_clamp(socket: &impl AsFd, bytes: u32) -> Result<()> {
    set(
        socket,
        libc::IPPROTO_TCP,
        libc::TCP_WINDOW_CLAMP,
        to_int(bytes)?,
    )
}

/// Whether a new socket has a window clamp once `change` was made.
///
/// # Errors
/// What the kernel refuses.
pub fn sets_window_clamp(change: impl Fn(&OwnedFd) -> Result<()>) -> Result<bool> {
    let socket = open(libc::AF_INET, 0)?;
    change(&socket)?;
    let mut clamp = 0u32;
    let mut length = size_of_val(&clamp) as libc::socklen_t;
    // SAFETY: the pointer and the length describe `clamp`, which outlives the call.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_WINDOW_CLAMP,
            (&raw mut clamp).cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error()).context("failed to read TCP_WINDOW_CLAMP");
    }
    Ok(clamp != 0)
}

/// Sets SO_RCVLOWAT.
///
/// # Errors
/// What the kernel refuses.
pub fn set_receive_low_water(socket: &impl AsFd, bytes: u32) -> Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, to_int(bytes)?)
}

/// Makes closing the socket send a RST (SO_LINGER of 0 s), so that no TIME_WAIT stays behind.
///
/// # Errors
/// What the kernel refuses.
pub fn reset_on_close(socket: &impl AsFd) -> Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    set(socket, libc::SOL_SOCKET, libc::SO_LINGER, linger)
}

/// Sets a socket option; `T` is the type that the option takes.
///
/// # Errors
/// What the kernel refuses.
pub fn set<T: Copy>(socket: &impl AsFd, level: i32, name: i32, value: T) -> Result<()> {
    // SAFETY: the pointer and the size are those of `value`, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<T>() as u32,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("failed to set socket option {name} of level {level}"));
    }
    Ok(())
}

fn to_int(value: u32) -> Result<i32> {
    i32::try_from(value).context("too large for a socket option")
}

/// IPv4-mapped IPv6 addresses as the IPv4 addresses that they stand for.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
