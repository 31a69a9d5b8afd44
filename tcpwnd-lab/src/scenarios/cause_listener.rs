//! A listener whose options change while a cookie is on its way, or that makes room for another.

use anyhow::{Result, bail};

use super::bench::Bench;
use super::changed::{self, Case, Expected};
use super::stage::{Stage, unlocked};
use crate::broker::Broker;
use crate::socket::ListenOptions;

/// SO_RCVBUF that the listeners get, in bytes as the application passes it.
const RCVBUF: u32 = 102_400;

/// SO_RCVLOWAT that the listeners get, in bytes; less than half of `tcp_rmem[2]`.
const RCVLOWAT: u32 = 1 << 20;

pub fn play(bench: &Bench) -> Result<String> {
    changed::play(bench, &cases(bench)?)
}

fn cases(bench: &Bench) -> Result<Vec<Case>> {
    // Where it changes the window clamp: up to 6.5.
    let by_rcvlowat = |cause| {
        if bench.rcvlowat_sets_clamp()? {
            Ok::<_, anyhow::Error>(Expected::Mismatch(cause))
        } else {
            Ok(Expected::Ok)
        }
    };
    let set_rcvbuf: &[_] = if bench.rcvbuf_sets_clamp()? {
        &["rcvbuf", "rcvbuf_locked", "window_clamp"]
    } else {
        &["rcvbuf", "rcvbuf_locked"]
    };
    let kafka = ListenOptions::default();
    Ok(vec![
        Case::new(
            "SO_RCVBUF",
            |stage| stage.broker.set_receive_buffer(RCVBUF),
            // It is ignored.
            if bench.affected {
                Expected::Ok
            } else {
                Expected::Mismatch("rcvbuf_changed")
            },
            set_rcvbuf,
        ),
        Case {
            listen: kafka,
            // Ignored as well: the SYN+ACK's buffer would have done it.
            ..Case::new(
                "SO_RCVBUF, to another that comes to the same",
                |stage| stage.broker.set_receive_buffer(RCVBUF + 4_096),
                ignored(bench),
                &["rcvbuf"],
            )
        },
        Case::new(
            "TCP_WINDOW_CLAMP",
            |stage| stage.broker.set_window_clamp(65_535),
            Expected::Mismatch("window_clamp_changed"),
            &["window_clamp"],
        ),
        Case::new(
            "SO_RCVBUF, and a smaller TCP_WINDOW_CLAMP",
            |stage| {
                stage.broker.set_receive_buffer(RCVBUF)?;
                stage.broker.set_window_clamp(65_535)
            },
            Expected::Mismatch("window_clamp_changed"),
            &["rcvbuf", "rcvbuf_locked", "window_clamp"],
        ),
        Case::new(
            "SO_RCVLOWAT",
            |stage| stage.broker.set_receive_low_water(RCVLOWAT),
            by_rcvlowat("rcvlowat_changed")?,
            &["rcvbuf", "rcvlowat", "window_clamp"],
        ),
        Case::new(
            "SO_RCVLOWAT and back",
            |stage| {
                stage.broker.set_receive_low_water(RCVLOWAT)?;
                stage.broker.set_receive_low_water(1)
            },
            by_rcvlowat("unknown")?,
            &["rcvbuf", "window_clamp"],
        ),
        Case {
            listen: kafka,
            ..Case::new(
                "another listener, without SO_RCVBUF",
                |stage| rebind(stage, &unlocked()),
                Expected::Mismatch("listener_changed"),
                if bench.rcvbuf_sets_clamp()? {
                    &["listener", "rcvbuf", "rcvbuf_locked", "window_clamp"]
                } else {
                    &["listener", "rcvbuf", "rcvbuf_locked"]
                },
            )
        },
        Case {
            listen: kafka,
            ..Case::new(
                "another listener with the same SO_RCVBUF",
                |stage| rebind(stage, &ListenOptions::default()),
                ignored(bench),
                &["listener"],
            )
        },
        Case::new(
            "another listener, and tcp_rmem",
            |stage| {
                rebind(stage, &unlocked())?;
                stage.set_rmem(256 << 20)
            },
            Expected::Mismatch("tcp_rmem_changed"),
            &["listener", "tcp_rmem_max"],
        ),
        Case {
            listen: ListenOptions {
                reuse_port: true,
                ..kafka
            },
            ..Case::new(
                "a sibling with SO_REUSEPORT, without SO_RCVBUF",
                |stage| {
                    let sibling = ListenOptions {
                        reuse_port: true,
                        ..unlocked()
                    };
                    stage.broker = Broker::start(&stage.server, &sibling)?;
                    Ok(())
                },
                Expected::Mismatch("listener_changed"),
                if bench.rcvbuf_sets_clamp()? {
                    &["listener", "rcvbuf", "rcvbuf_locked", "window_clamp"]
                } else {
                    &["listener", "rcvbuf", "rcvbuf_locked"]
                },
            )
        },
    ])
}

/// What comes of a receive buffer that was set before and after.
fn ignored(bench: &Bench) -> Expected {
    if bench.affected {
        Expected::Mismatch("cookie_ignored_rcvbuf")
    } else {
        Expected::Ok
    }
}

/// Closes the listener and opens another, as a server does that is restarted.
///
/// A listener takes cookies only after it has sent one itself (`tcp_synq_no_recent_overflow`,
/// include/net/tcp.h, 6.12), so another client comes first.
fn rebind(stage: &mut Stage, listen: &ListenOptions) -> Result<()> {
    stage.rebind(listen)?;
    let mut other = stage.peer(900);
    other.syn()?;
    let synack = other.synack()?;
    if synack.options.timestamps.is_none() {
        bail!("not a cookie with timestamps: {synack:?}");
    }
    Ok(())
}
