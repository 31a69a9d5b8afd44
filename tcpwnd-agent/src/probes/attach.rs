//! Loads the object, attaches hook by hook, and owns what is attached.

use tcpwnd_common::ListenerSlot;

use super::{AttachError, CountersSnapshot, ProbeStatus, Settings};
use crate::kernel::Degradation;
use crate::transport::Ring;

/// Everything that is attached; dropping it detaches and unloads all of it.
pub struct Attached {
    ring: Option<Ring>,
}

/// Loads and attaches everything that `settings` ask for. All or nothing: after an error nothing
/// of it is left in the kernel.
///
/// # Errors
///
/// One line each, with the way out: see [`AttachError`].
pub fn attach(settings: &Settings) -> Result<Attached, AttachError> {
    let _ = settings;
    Err(AttachError::Unfinished)
}

impl Attached {
    /// The source of records; it can be taken once.
    pub fn take_events(&mut self) -> Option<Ring> {
        self.ring.take()
    }

    /// The programs' counters now.
    #[must_use]
    pub fn counters(&self) -> CountersSnapshot {
        unimplemented!()
    }

    /// Listeners that were seen so far, in no order.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerSlot> {
        Vec::new()
    }

    /// Each hook, in the order in which they were attached.
    #[must_use]
    pub fn status(&self) -> Vec<ProbeStatus> {
        Vec::new()
    }

    /// What this kernel does not have and can be done without, one line each.
    #[must_use]
    pub fn degradations(&self) -> &[Degradation] {
        &[]
    }

    /// When the last hook was attached, nanoseconds of CLOCK_MONOTONIC: connections that were
    /// under way then were not seen from their beginning.
    #[must_use]
    pub fn watching_since_ktime_ns(&self) -> u64 {
        0
    }

    /// Attaches the window probe or takes it off again; does nothing when it is as asked for, or
    /// when it was not loaded (`Config::confirm` 0).
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for instance because capabilities were given up.
    pub fn watch_window(&mut self, on: bool) -> Result<(), AttachError> {
        let _ = on;
        Ok(())
    }
}
