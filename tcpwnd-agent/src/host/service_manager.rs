//! What systemd is told where it started the agent (sd_notify(3)), and anybody else who sets
//! NOTIFY_SOCKET. Without that nothing is sent.
//!
//! Constraint: called by the event loop and by nothing else, the watchdog's pings included: if the
//! loop is stuck, they stay away.

use std::future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::reason;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    watchdog: Option<Interval>,
    status: String,
    failed: bool,
}

impl ServiceManager {
    /// Reads from the environment whether there is one, and how often it wants a ping: twice in
    /// the time after which it takes the agent for stuck.
    #[must_use]
    pub fn new() -> Self {
        let patience = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
        let watchdog = patience.map(|patience| {
            let mut pings = interval((patience / 2).max(Duration::from_millis(1)));
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        });
        Self {
            watchdog,
            status: String::new(),
            failed: false,
        }
    }

    /// Everything is attached and served.
    pub fn ready(&mut self, status: String) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.status = status;
    }

    /// What `systemctl status` shows; sent when it is new.
    pub fn status(&mut self, status: String) {
        if status != self.status {
            self.tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// It is about to end.
    pub fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Waits until a ping is due; forever without a watchdog. Safe to cancel.
    pub async fn ping_due(&mut self) {
        match &mut self.watchdog {
            Some(pings) => drop(pings.tick().await),
            None => future::pending().await,
        }
    }

    /// The event loop is alive.
    pub fn ping(&mut self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states)
            && !self.failed
        {
            // Once: systemd ends a service that it hears nothing of, and this says why.
            self.failed = true;
            eprintln!(
                "tcpwnd: failed to notify the service manager: {}",
                reason(&error)
            );
        }
    }
}
