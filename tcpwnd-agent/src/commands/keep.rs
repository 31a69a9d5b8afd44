//! Keeping the state file beside everything else that `run` does.
//!
//! Constraint: what is looked up of a connection counts only once everything has been taken in that
//! had happened by then.

use std::io;
use std::time::Duration;

use tcpwnd_core::{Flow, Role};
use tokio::time::{Interval, MissedTickBehavior};

use super::served::{State, Watched};
use super::session::{self, Session, Sink};
use crate::config::Filter;
use crate::host::clock;
use crate::state::Keeper;
use crate::transport::Records;

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
    let since_ns = session.watching_since_ktime_ns();
    let wanted = |flow: &Flow, role| is_wanted(flow, role, filter, watched);
    keeper.take_over(session.engine_mut(), since_ns, wanted);
    tell(keeper);
}

/// Whether this agent looks at such connections.
fn is_wanted(flow: &Flow, role: Role, filter: &Filter, watched: &Watched) -> bool {
    filter.selects(&flow.0) && watched.has(role)
}

fn tell(keeper: &mut Keeper) {
    for line in keeper.lines() {
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
    pub fn keep(&self, records: &mut Records, out: &mut dyn Sink) -> io::Result<()> {
        let mut keeper = self.keeper.borrow_mut();
        let Some(keeper) = &mut *keeper else {
            return Ok(());
        };
        let looked_up = {
            let mut session = self.session.borrow_mut();
            keeper.check(session.engine_mut());
            keeper.look_up(session.engine().flows(), false)
        };
        if !looked_up.is_empty() && session::settle(records, |record| self.take(record, out))? {
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
    pub fn end(&self, records: &mut Records, out: &mut dyn Sink) -> io::Result<()> {
        let mut keeper = self.keeper.borrow_mut();
        let looked_up = keeper
            .as_mut()
            .map(|keeper| keeper.look_up(self.session.borrow().engine().flows(), true));
        self.finish(records, out)?;
        if let (Some(keeper), Some(looked_up)) = (&mut *keeper, looked_up) {
            Keeper::identify(self.session.borrow_mut().engine_mut(), looked_up);
            save(keeper, &self.session.borrow(), true);
        }
        Ok(())
    }
}

fn save(keeper: &mut Keeper, session: &Session, stopped: bool) {
    let flows = session.engine().flows();
    keeper.save(flows, clock::monotonic_ns(), stopped);
    tell(keeper);
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tcpwnd_core::{Flow, Role};

    use super::is_wanted;
    use crate::cli::{Cli, Command};
    use crate::commands::served::Watched;
    use crate::config::Filter;

    /// Whether an agent with these options takes over a connection between 10.9.0.1:9092 and
    /// 10.9.0.2:40000.
    fn wanted(options: &str, role: Role) -> bool {
        let arguments = "tcpwnd run".split(' ').chain(options.split_whitespace());
        let Command::Run(args) = Cli::try_parse_from(arguments).unwrap().command else {
            panic!("not run");
        };
        let filter = Filter::resolve(&args.filter).unwrap();
        let watched = Watched::by(&filter, args.role.role);
        let end = |text: &str| text.parse().unwrap();
        let flow = Flow::between(5, 0, end("10.9.0.1:9092"), end("10.9.0.2:40000"));
        is_wanted(&flow, role, &filter, &watched)
    }

    #[test]
    fn only_what_the_options_select_is_taken_over() {
        for (options, accepted, opened) in [
            ("", true, false),
            ("--role client", false, true),
            ("--role both", true, true),
            ("--port 9092", true, false),
            ("--port 9093", false, false),
            ("--role both --remote-port 40000", true, true),
            ("--role both --remote-port 9092", false, false),
            ("--host 10.9.0.0/24", true, false),
            ("--host 10.9.1.0/24", false, false),
            ("--netns 5", true, false),
            ("--netns 6", false, false),
            ("-6", false, false),
        ] {
            let found = (wanted(options, Role::Server), wanted(options, Role::Client));
            assert_eq!(found, (accepted, opened), "{options}");
        }
    }
}
