//! Settings and routes that change while a cookie is on its way.

use std::cell::RefCell;

use anyhow::Result;

use super::bench::Bench;
use super::changed::{self, Case};
use super::provoked::{Expected, Provocation};
use super::stage::Stage;
use crate::net::{Changed, run};
use crate::socket::ListenOptions;

const RMEM_MAX: &str = "net/core/rmem_max";
/// Why two changes have no cause.
const EITHER: &str = "either leads there by itself";

const ADV_WIN_SCALE: &str = "net/ipv4/tcp_adv_win_scale";

pub fn play(bench: &Bench) -> Result<String> {
    // Case by case, a value of the whole machine is as it was before.
    let said = changed::play(bench, &cases(bench)?);
    put_back();
    said
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
    cases.push(Case::new(
        Provocation::mismatch("timestamps_disabled", "`tcp_timestamps` switched off"),
        |stage| stage.server.set("net/ipv4/tcp_timestamps", "0"),
        &["tcp_timestamps"],
    ));
    cases.push(adv_win_scale(bench)?);
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
                |stage| route(stage, "window 65535"),
                &["route_window"],
            )
        },
        Case {
            before: |stage| route(stage, "window 65535"),
            ..Case::new(
                Provocation::mismatch("route_window_changed", "`window` taken off the route"),
                |stage| route(stage, ""),
                &["route_window"],
            )
        },
        Case::new(
            Provocation::near_miss(
                "route_window_changed",
                "`initrwnd` added to the route",
                Expected::Ok,
            ),
            |stage| route(stage, "initrwnd 20"),
            &[],
        ),
    ]
}

/// The scale of receive buffers, which counts where one was set, up to 6.5.
fn adv_win_scale(bench: &Bench) -> Result<Case> {
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
    Ok(Case {
        listen: ListenOptions::default(),
        ..Case::new(
            what,
            |stage| stage.server.set(ADV_WIN_SCALE, "-2"),
            &["tcp_adv_win_scale"],
        )
    })
}

/// Sets the route to the peers anew.
fn route(stage: &Stage, metrics: &str) -> Result<()> {
    stage
        .server
        .enter(|| run(&format!("ip route replace 10.9.0.0/16 dev tun0 {metrics}")))
}
