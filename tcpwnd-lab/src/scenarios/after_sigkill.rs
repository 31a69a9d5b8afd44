//! After SIGKILL under load, with a suspect connection under watch, nothing of the agent is left
//! in the kernel.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::stage::{PORT, Rmem, Stage};
use crate::client::come_and_go;
use crate::hooks::Hooks;
use crate::net::Pair;
use crate::wait::{self, PATIENCE};

pub fn play(bench: &Bench) -> Result<String> {
    let stage = Stage::with_cookies()?;
    let before = Hooks::look()?;
    let mut agent = bench.trace()?;
    let mut damaged = stage.peer(1);
    damaged.syn()?;
    let synack = damaged.synack()?;
    stage.change(Rmem::Raised)?;
    damaged.ack(&synack)?;
    agent.wait_handshakes(1)?;
    let during = Hooks::look()?;
    ensure!(
        !during.beyond(&before).is_empty() && during.attached_to().contains("tcp_make_synack"),
        "the running agent is not found, so its remains would not be either: {during:?}"
    );
    let load = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let to = SocketAddr::new(Pair::SERVER_V4, PORT);
        let (server, going) = (&stage.server, &load);
        let clients = scope.spawn(move || {
            let mut count = 0;
            while going.load(Ordering::Acquire) {
                count += come_and_go(server, to, 20)?.len();
            }
            Ok::<_, anyhow::Error>(count)
        });
        let killed = agent.wait_handshakes(50).and_then(|()| agent.kill());
        load.store(false, Ordering::Release);
        let made = clients.join().ok().context("the clients panicked")??;
        killed?;
        gone(&before)?;
        Ok(format!("{made} handshakes under load, nothing left"))
    })
}

fn gone(before: &Hooks) -> Result<()> {
    let mut left = Vec::new();
    // The kernel frees some of it only after a grace period.
    wait::until_true(PATIENCE, "everything to go", || {
        left = Hooks::look()?.beyond(before);
        Ok(left.is_empty())
    })
    .with_context(|| format!("left in the kernel: {left:?}"))
}
