//! Keeping the state file beside everything else that `run` does.
//!
//! Constraint: what is looked up of a connection counts only once everything has been taken in that
//! had happened by then.

use std::io;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use super::served::{State, Watched};
use super::session::{self, Session, Sink};
use crate::config::Filter;
use crate::host::clock;
use crate::state::Keeper;
use crate::transport::Ring;

/// How often connections are looked after.
const INTERVAL: Duration = Duration::from_secs(1);

/// Ticks whenever [`State::keep`] is due.
pub fn interval() -> Interval {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Takes over what a former agent found. The programs are in place by then, so that whatever happens
/// to a connection from here on is seen.
pub fn take_over(keeper: &mut Keeper, session: &mut Session, filter: &Filter, watched: &Watched) {
    let lines = keeper.take_over(session.engine_mut(), |flow, role| {
        filter.selects(&flow.0) && watched.has(role)
    });
    for line in lines {
        eprintln!("tcpwnd: {line}");
    }
}

impl State {
    /// Whether there is a state file to be kept.
    pub fn keeps(&self) -> bool {
        self.keeper.borrow().is_some()
    }

    /// Looks after connections and writes the file, as far as it is time.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn keep(&self, ring: &mut Ring, out: &mut dyn Sink) -> io::Result<()> {
        let mut keeper = self.keeper.borrow_mut();
        let Some(keeper) = &mut *keeper else {
            return Ok(());
        };
        let looked_up = {
            let mut session = self.session.borrow_mut();
            keeper.check(session.engine_mut());
            keeper.look_up(session.engine().flows(), false)
        };
        if !looked_up.is_empty() && session::settle(ring, |record| self.take(record, out))? {
            Keeper::identify(self.session.borrow_mut().engine_mut(), looked_up);
        }
        save(keeper, &self.session.borrow(), false);
        Ok(())
    }

    /// Detaches every program, takes in what is still on its way, and writes the file for the last
    /// time.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn end(&self, ring: &mut Ring, out: &mut dyn Sink) -> io::Result<()> {
        let mut keeper = self.keeper.borrow_mut();
        let looked_up = keeper
            .as_mut()
            .map(|keeper| keeper.look_up(self.session.borrow().engine().flows(), true));
        self.finish(ring, out)?;
        if let (Some(keeper), Some(looked_up)) = (&mut *keeper, looked_up) {
            Keeper::identify(self.session.borrow_mut().engine_mut(), looked_up);
            save(keeper, &self.session.borrow(), true);
        }
        Ok(())
    }
}

fn save(keeper: &mut Keeper, session: &Session, stopped: bool) {
    let flows = session.engine().flows();
    if let Some(trouble) = keeper.save(flows, clock::monotonic_ns(), stopped) {
        eprintln!("tcpwnd: {trouble}");
    }
}
