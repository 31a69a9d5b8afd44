//! A TUN device: the kernel's packets come to us, and ours go to the kernel.
//!
//! Constraint: nothing here answers by itself. What a peer on the device does, a scenario decides
//! packet by packet.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::net::{Namespace, Pair, run};
use crate::packet::Segment;
use crate::wait;

/// A TUN device in a namespace; the server side has [`Pair::SERVER_V4`] and [`Pair::SERVER_V6`],
/// all other addresses of those networks are behind the device.
#[derive(Debug)]
pub struct Tun {
    device: RefCell<File>,
    unclaimed: RefCell<VecDeque<Segment>>,
}

impl Tun {
    /// Creates the device `tun0` in a namespace.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, or in a kernel without TUN.
    pub fn open(at: &Namespace) -> Result<Self> {
        Self::open_as(at, "tun0", |name| {
            let (v4, v6) = (Pair::SERVER_V4, Pair::SERVER_V6);
            run(&format!("ip addr add {v4}/16 dev {name}"))?;
            run(&format!("ip addr add {v6}/64 dev {name} nodad"))
        })
    }

    /// Creates a device of another name, and lets `prepare` give it its addresses before it is up.
    ///
    /// # Errors
    /// As [`Self::open`], and what `prepare` returns.
    pub fn open_as(
        at: &Namespace,
        name: &str,
        prepare: impl FnOnce(&str) -> Result<()> + Send,
    ) -> Result<Self> {
        at.enter(|| {
            let device = create(name)?;
            prepare(name)?;
            run(&format!("ip link set {name} up"))?;
            Ok(Self {
                device: RefCell::new(device),
                unclaimed: RefCell::default(),
            })
        })
    }

    /// The server's address on this device.
    #[must_use]
    pub fn server(v6: bool, port: u16) -> SocketAddr {
        SocketAddr::new(if v6 { Pair::SERVER_V6 } else { Pair::SERVER_V4 }, port)
    }

    /// An address behind the device, a different one for each `number` below 60,000.
    #[must_use]
    pub fn client(v6: bool, number: u16) -> IpAddr {
        let [high, low] = (number + 0x100).to_be_bytes();
        if v6 {
            [0xfd09, 0, 0, 0, 0, 0, 0, number + 0x100].into()
        } else {
            [10, 9, high, low].into()
        }
    }

    /// Hands a segment to the kernel.
    ///
    /// # Errors
    /// When the device refuses it.
    pub fn send(&self, segment: &Segment) -> Result<()> {
        let packet = segment.encode();
        let count = self
            .device
            .borrow_mut()
            .write(&packet)
            .context("failed to write a packet to the TUN device")?;
        if count != packet.len() {
            bail!("the TUN device took {count} bytes of {}", packet.len());
        }
        Ok(())
    }

    /// The next segment that the kernel sent and `wanted` picks, if it is there already. Segments
    /// that it does not pick wait for somebody else.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn take(&self, wanted: impl Fn(&Segment) -> bool) -> Result<Option<Segment>> {
        self.drain()?;
        let mut unclaimed = self.unclaimed.borrow_mut();
        let found = unclaimed.iter().position(wanted);
        Ok(found.and_then(|position| unclaimed.remove(position)))
    }

    /// Waits for a segment that `wanted` picks.
    ///
    /// # Errors
    /// When none comes within `patience`; the message names `what`.
    pub fn wait(
        &self,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&Segment) -> bool,
    ) -> Result<Segment> {
        wait::until(patience, what, || self.take(&wanted))
    }

    fn drain(&self) -> Result<()> {
        let mut packet = [0; 65_536];
        loop {
            match self.device.borrow_mut().read(&mut packet) {
                // Neighbour discovery and the like are nobody's.
                Ok(count) => {
                    self.unclaimed
                        .borrow_mut()
                        .extend(Segment::decode(&packet[..count]));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    return Err(error).context("failed to read a packet from the TUN device");
                }
            }
        }
    }
}

fn create(name: &str) -> Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .context("failed to open /dev/net/tun")?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte less than there is room for: the name ends with a zero.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF takes a pointer to an ifreq, which outlives the call.
    if unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw const request) } != 0 {
        return Err(std::io::Error::last_os_error()).context("failed to create a TUN device");
    }
    Ok(device)
}
