//! Settings and routes that change while a cookie is on its way.

use std::cell::RefCell;

use anyhow::Result;

use super::bench::Bench;
use super::changed::{self, Case, Expected};
use super::stage::Stage;
use crate::net::{Changed, run};
use crate::socket::ListenOptions;

const RMEM_MAX: &str = "net/core/rmem_max";
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
    Ok(vec![
        Case::new(
            "tcp_rmem to the same power of two",
            |stage| stage.set_rmem(20 << 20),
            Expected::Ok,
            &[],
        ),
        Case::new(
            "tcp_rmem",
            |stage| stage.set_rmem(256 << 20),
            Expected::Mismatch("tcp_rmem_changed"),
            &["tcp_rmem_max"],
        ),
        Case::new(
            "rmem_max, less than tcp_rmem",
            |_| raise_rmem_max(8 << 20),
            Expected::Ok,
            &[],
        ),
        Case::new(
            "rmem_max",
            |_| raise_rmem_max(256 << 20),
            Expected::Mismatch("rmem_max_changed"),
            &["rmem_max"],
        ),
        Case {
            before: |_| {
                put_back();
                Ok(())
            },
            ..Case::new(
                "rmem_max and tcp_rmem to the same",
                |stage| {
                    raise_rmem_max(256 << 20)?;
                    stage.set_rmem(256 << 20)
                },
                Expected::Mismatch("unknown"),
                &["tcp_rmem_max"],
            )
        },
        Case {
            before: |_| {
                put_back();
                Ok(())
            },
            ..Case::new(
                "a window for the route",
                |stage| route(stage, "window 65535"),
                Expected::Mismatch("route_window_changed"),
                &["route_window"],
            )
        },
        Case {
            before: |stage| route(stage, "window 65535"),
            ..Case::new(
                "no window for the route any more",
                |stage| route(stage, ""),
                Expected::Mismatch("route_window_changed"),
                &["route_window"],
            )
        },
        Case::new(
            "another metric of the route",
            |stage| route(stage, "initrwnd 20"),
            Expected::Ok,
            &[],
        ),
        Case::new(
            "timestamps switched off",
            |stage| stage.server.set("net/ipv4/tcp_timestamps", "0"),
            Expected::Mismatch("timestamps_disabled"),
            &["tcp_timestamps"],
        ),
        adv_win_scale(bench)?,
    ])
}

/// The scale of receive buffers, which counts where one was set, up to 6.5.
fn adv_win_scale(bench: &Bench) -> Result<Case> {
    let (expected, inputs): (_, &[_]) = match (bench.affected, bench.rcvlowat_sets_clamp()?) {
        (true, _) => (
            Expected::Mismatch("cookie_ignored_rcvbuf"),
            &["tcp_adv_win_scale"],
        ),
        (false, true) => (
            Expected::Mismatch("tcp_adv_win_scale_changed"),
            &["tcp_adv_win_scale"],
        ),
        (false, false) => (Expected::Ok, &[]),
    };
    Ok(Case {
        listen: ListenOptions::default(),
        ..Case::new(
            "tcp_adv_win_scale",
            |stage| stage.server.set(ADV_WIN_SCALE, "-2"),
            expected,
            inputs,
        )
    })
}

/// Sets the route to the peers anew.
fn route(stage: &Stage, metrics: &str) -> Result<()> {
    stage
        .server
        .enter(|| run(&format!("ip route replace 10.9.0.0/16 dev tun0 {metrics}")))
}
