//! A listener whose options change while a cookie is on its way, or that makes room for another.

use anyhow::{Result, bail};

use super::bench::Bench;
use super::changed::{self, Case, EITHER};
use super::provoked::{Expected, Provocation};
use super::stage::{RMEM_AT_FIRST, Stage, unlocked};
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
    let mut cases = of_rcvbuf(bench)?;
    cases.extend(of_clamp());
    cases.extend(of_rcvlowat(bench)?);
    cases.extend(of_another(bench)?);
    Ok(cases)
}

/// Its receive buffer.
fn of_rcvbuf(bench: &Bench) -> Result<Vec<Case>> {
    let set = Provocation::mismatch("rcvbuf_changed", "SO_RCVBUF set on the listener");
    Ok(vec![
        Case::new(
            if bench.affected {
                set.here(Expected::Ok, "this kernel's cookie path ignores SO_RCVBUF")
            } else {
                set
            },
            |stage| stage.broker.set_receive_buffer(RCVBUF),
            if bench.rcvbuf_sets_clamp()? {
                &["rcvbuf", "rcvbuf_locked", "window_clamp"]
            } else {
                &["rcvbuf", "rcvbuf_locked"]
            },
        ),
        Case {
            listen: ListenOptions::default(),
            // Ignored as well: the SYN+ACK's buffer would have done it.
            ..Case::new(
                Provocation::near_miss(
                    "rcvbuf_changed",
                    "SO_RCVBUF set to another value that comes to the same",
                    ignored(bench),
                ),
                |stage| stage.broker.set_receive_buffer(RCVBUF + 4_096),
                &["rcvbuf"],
            )
        },
        Case {
            before: |stage| stage.broker.set_receive_buffer(4 * RMEM_AT_FIRST),
            ..Case::new(
                Provocation::near_miss(
                    "cookie_ignored_rcvbuf",
                    "SO_RCVBUF larger than `tcp_rmem`, nothing changed",
                    Expected::Ok,
                ),
                |_| Ok(()),
                &[],
            )
        },
        Case::new(
            Provocation::near_miss(
                "rcvbuf_changed",
                "SO_RCVBUF set, and a smaller TCP_WINDOW_CLAMP",
                Expected::Mismatch("window_clamp_changed"),
            ),
            |stage| {
                stage.broker.set_receive_buffer(RCVBUF)?;
                stage.broker.set_window_clamp(65_535)
            },
            &["rcvbuf", "rcvbuf_locked", "window_clamp"],
        ),
    ])
}

/// Its window clamp.
fn of_clamp() -> Vec<Case> {
    vec![
        Case::new(
            Provocation::mismatch(
                "window_clamp_changed",
                "TCP_WINDOW_CLAMP set on the listener",
            ),
            |stage| stage.broker.set_window_clamp(65_535),
            &["window_clamp"],
        ),
        Case::new(
            Provocation::near_miss(
                "window_clamp_changed",
                "TCP_WINDOW_CLAMP set, larger than any window",
                Expected::Ok,
            ),
            |stage| stage.broker.set_window_clamp(1 << 30),
            &[],
        ),
        Case::new(
            Provocation::near_miss(
                "window_clamp_changed",
                "TCP_WINDOW_CLAMP and the route's `window` set to the same",
                Expected::Ok,
            )
            .unknown(EITHER),
            |stage| {
                stage.broker.set_window_clamp(65_535)?;
                stage.route("window 65535")
            },
            &["route_window", "window_clamp"],
        ),
    ]
}

/// SO_RCVLOWAT, which changes receive buffer and window clamp up to 6.5.
fn of_rcvlowat(bench: &Bench) -> Result<Vec<Case>> {
    let raised = Provocation::mismatch("rcvlowat_changed", "SO_RCVLOWAT raised on the listener");
    let back = Provocation::near_miss(
        "rcvlowat_changed",
        "SO_RCVLOWAT raised and lowered again",
        Expected::Ok,
    );
    let [raised, back] = if bench.rcvlowat_sets_clamp()? {
        [
            raised,
            back.unknown("nothing says any more what made the buffer so large"),
        ]
    } else {
        [
            raised.here(Expected::Ok, "from 6.6 on SO_RCVLOWAT changes no scale"),
            back,
        ]
    };
    Ok(vec![
        Case::new(
            raised,
            |stage| stage.broker.set_receive_low_water(RCVLOWAT),
            &["rcvbuf", "rcvlowat", "window_clamp"],
        ),
        Case::new(
            Provocation::near_miss(
                "rcvlowat_changed",
                "SO_RCVLOWAT raised, to less than the buffer",
                Expected::Ok,
            ),
            |stage| stage.broker.set_receive_low_water(1_000),
            &[],
        ),
        Case::new(
            back,
            |stage| {
                stage.broker.set_receive_low_water(RCVLOWAT)?;
                stage.broker.set_receive_low_water(1)
            },
            &["rcvbuf", "window_clamp"],
        ),
    ])
}

/// Another one in its place.
fn of_another(bench: &Bench) -> Result<Vec<Case>> {
    let kafka = ListenOptions::default();
    let without_rcvbuf: &[_] = if bench.rcvbuf_sets_clamp()? {
        &["listener", "rcvbuf", "rcvbuf_locked", "window_clamp"]
    } else {
        &["listener", "rcvbuf", "rcvbuf_locked"]
    };
    Ok(vec![
        Case {
            listen: kafka,
            ..Case::new(
                Provocation::mismatch(
                    "listener_changed",
                    "another listener on the port, without SO_RCVBUF",
                ),
                |stage| rebind(stage, &unlocked()),
                without_rcvbuf,
            )
        },
        Case {
            listen: kafka,
            ..Case::new(
                Provocation::near_miss(
                    "listener_changed",
                    "another listener on the port, with the same SO_RCVBUF",
                    ignored(bench),
                ),
                |stage| rebind(stage, &ListenOptions::default()),
                &["listener"],
            )
        },
        Case::new(
            Provocation::near_miss(
                "listener_changed",
                "another listener on the port, and `tcp_rmem` raised",
                Expected::Mismatch("tcp_rmem_changed"),
            ),
            |stage| {
                rebind(stage, &unlocked())?;
                stage.set_rmem(256 << 20)
            },
            &["listener", "tcp_rmem_max"],
        ),
        Case {
            listen: shared(kafka),
            ..Case::new(
                Provocation::mismatch(
                    "listener_changed",
                    "a sibling with SO_REUSEPORT takes over, without SO_RCVBUF",
                ),
                |stage| take_over(stage, &shared(unlocked())),
                without_rcvbuf,
            )
        },
        Case {
            listen: shared(kafka),
            ..Case::new(
                Provocation::near_miss(
                    "listener_changed",
                    "a sibling with SO_REUSEPORT takes over, with the same SO_RCVBUF",
                    ignored(bench),
                ),
                |stage| take_over(stage, &shared(ListenOptions::default())),
                &["listener"],
            )
        },
        Case {
            listen: shared(unlocked()),
            before: |stage| {
                let sibling = Broker::start(&stage.server, &shared(unlocked()))?;
                sibling.set_window_clamp(65_535)?;
                stage.sibling = Some(sibling);
                Ok(())
            },
            ..Case::new(
                Provocation::near_miss(
                    "listener_changed",
                    "two siblings with SO_REUSEPORT all along, one with TCP_WINDOW_CLAMP",
                    Expected::Ok,
                ),
                |_| Ok(()),
                &[],
            )
        },
    ])
}

/// The same with SO_REUSEPORT.
fn shared(options: ListenOptions) -> ListenOptions {
    ListenOptions {
        reuse_port: true,
        ..options
    }
}

/// Opens a listener beside the one that is there, which then closes.
fn take_over(stage: &mut Stage, sibling: &ListenOptions) -> Result<()> {
    stage.broker = Broker::start(&stage.server, sibling)?;
    Ok(())
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
