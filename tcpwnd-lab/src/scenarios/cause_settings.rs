//! Settings and routes that change while a cookie is on its way.

use std::cell::RefCell;
use std::path::Path;

use anyhow::Result;

use super::bench::{Bench, compare};
use super::changed::{self, Case, EITHER};
use super::provoked::{Expected, Provocation};
use super::stage::{PORT, RMEM, RMEM_AT_FIRST, Rmem, Stage, rmem};
use crate::net::{Changed, Namespace, run};
use crate::socket::ListenOptions;

const RMEM_MAX: &str = "net/core/rmem_max";
const TIMESTAMPS: &str = "net/ipv4/tcp_timestamps";
const ADV_WIN_SCALE: &str = "net/ipv4/tcp_adv_win_scale";

pub fn play(bench: &Bench) -> Result<String> {
    // Case by case, a value of the whole machine is as it was before.
    let said = changed::play(bench, &cases(bench)?);
    put_back();
    from_elsewhere(bench)?;
    said
}

/// The same as seen by an agent in another network namespace than the first, where some kernels
/// show no `rmem_max`: then nothing can be computed again.
fn from_elsewhere(bench: &Bench) -> Result<()> {
    let stage = Stage::with_cookies()?;
    let shown = stage
        .server
        .enter(|| Ok(Path::new("/proc/sys").join(RMEM_MAX).exists()))?;
    let raised = Provocation::mismatch(
        "tcp_rmem_changed",
        "`tcp_rmem` raised, tcpwnd in a network namespace of its own",
    );
    let what = if shown {
        raised
    } else {
        raised.unknown("this kernel shows `rmem_max` in the first network namespace only")
    };
    let mut agent = stage.server.enter(|| bench.trace())?;
    let mut peer = stage.peer(1);
    peer.syn()?;
    let synack = peer.synack()?;
    stage.change(Rmem::Raised)?;
    peer.ack(&synack)?;
    let accepted = stage.broker.wait_accepted(1)?;
    agent.wait_handshakes(1)?;
    let report = agent.finish()?;
    bench.provoked_all(&what, 1, &report)?;
    compare(&report, PORT, &accepted, &[])
}

thread_local! {
    static RAISED: RefCell<Option<Changed>> = const { RefCell::new(None) };
}

fn raise_rmem_max(bytes: u32) -> Result<()> {
    put_back();
    let raised = Changed::new(RMEM_MAX, &bytes.to_string())?;
    RAISED.set(Some(raised));
    Ok(())
}

fn put_back() {
    RAISED.take();
}

fn cases(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = of_memory();
    cases.extend(of_route());
    cases.extend(of_timestamps());
    cases.extend(of_adv_win_scale(bench)?);
    Ok(cases)
}

/// How large receive buffers may get.
fn of_memory() -> Vec<Case> {
    vec![
        Case::new(
            Provocation::near_miss(
                "tcp_rmem_changed",
                "`tcp_rmem` raised, to the same power of two",
                Expected::Ok,
            ),
            |stage| stage.set_rmem(20 << 20),
            &[],
        ),
        Case::new(
            Provocation::mismatch("tcp_rmem_changed", "`tcp_rmem` raised"),
            |stage| stage.set_rmem(256 << 20),
            &["tcp_rmem_max"],
        ),
        Case::new(
            Provocation::near_miss(
                "tcp_rmem_changed",
                "`tcp_rmem` raised and set back",
                Expected::Ok,
            ),
            |stage| {
                stage.set_rmem(256 << 20)?;
                stage.set_rmem(RMEM_AT_FIRST)
            },
            &[],
        ),
        Case::new(
            Provocation::near_miss(
                "tcp_rmem_changed",
                "`tcp_rmem` raised in another network namespace",
                Expected::Ok,
            ),
            |_| Namespace::new()?.set(RMEM, &rmem(256 << 20)),
            &[],
        ),
        Case::new(
            Provocation::near_miss(
                "rmem_max_changed",
                "`rmem_max` raised, to less than `tcp_rmem`",
                Expected::Ok,
            ),
            |_| raise_rmem_max(8 << 20),
            &[],
        ),
        Case::new(
            Provocation::mismatch("rmem_max_changed", "`rmem_max` raised"),
            |_| raise_rmem_max(256 << 20),
            &["rmem_max"],
        ),
        Case {
            before: |_| {
                put_back();
                Ok(())
            },
            ..Case::new(
                Provocation::near_miss(
                    "rmem_max_changed",
                    "`rmem_max` and `tcp_rmem` raised to the same",
                    Expected::Ok,
                )
                .unknown(EITHER),
                |stage| {
                    raise_rmem_max(256 << 20)?;
                    stage.set_rmem(256 << 20)
                },
                &["tcp_rmem_max"],
            )
        },
    ]
}

/// The route to the peers.
fn of_route() -> Vec<Case> {
    vec![
        Case {
            before: |_| {
                put_back();
                Ok(())
            },
            ..Case::new(
                Provocation::mismatch("route_window_changed", "`window` added to the route"),
                |stage| stage.route("window 65535"),
                &["route_window"],
            )
        },
        Case {
            before: |stage| stage.route("window 65535"),
            ..Case::new(
                Provocation::mismatch("route_window_changed", "`window` taken off the route"),
                |stage| stage.route(""),
                &["route_window"],
            )
        },
        Case::new(
            Provocation::near_miss(
                "route_window_changed",
                "`initrwnd` added to the route",
                Expected::Ok,
            ),
            |stage| stage.route("initrwnd 20"),
            &[],
        ),
        Case::new(
            Provocation::near_miss(
                "route_window_changed",
                "a route to other clients added, with `window`",
                Expected::Ok,
            ),
            |stage| {
                stage
                    .server
                    .enter(|| run("ip route add 10.9.99.0/24 dev tun0 window 65535"))
            },
            &[],
        ),
    ]
}

/// Whether timestamps are used.
fn of_timestamps() -> Vec<Case> {
    vec![
        Case::new(
            Provocation::mismatch("timestamps_disabled", "`tcp_timestamps` switched off"),
            |stage| stage.server.set(TIMESTAMPS, "0"),
            &["tcp_timestamps"],
        ),
        Case::new(
            Provocation::near_miss(
                "timestamps_disabled",
                "`tcp_timestamps` switched off and on again",
                Expected::Ok,
            ),
            |stage| {
                stage.server.set(TIMESTAMPS, "0")?;
                stage.server.set(TIMESTAMPS, "1")
            },
            &[],
        ),
    ]
}

/// The scale of receive buffers, which counts where one was set, up to 6.5.
fn of_adv_win_scale(bench: &Bench) -> Result<Vec<Case>> {
    let lowered = Provocation::mismatch(
        "tcp_adv_win_scale_changed",
        "`tcp_adv_win_scale` lowered, with SO_RCVBUF set",
    );
    let what = if bench.affected {
        lowered.here(
            Expected::Mismatch("cookie_ignored_rcvbuf"),
            "this kernel's cookie path ignores SO_RCVBUF",
        )
    } else if bench.rcvlowat_sets_clamp()? {
        lowered
    } else {
        lowered.here(
            Expected::Ok,
            "from 6.6 on `tcp_adv_win_scale` has no effect",
        )
    };
    let without_rcvbuf = Provocation::near_miss(
        "tcp_adv_win_scale_changed",
        "`tcp_adv_win_scale` lowered, without SO_RCVBUF",
        Expected::Ok,
    );
    let change = |stage: &mut Stage| stage.server.set(ADV_WIN_SCALE, "-2");
    Ok(vec![
        Case {
            listen: ListenOptions::default(),
            ..Case::new(what, change, &["tcp_adv_win_scale"])
        },
        Case::new(without_rcvbuf, change, &[]),
    ])
}
