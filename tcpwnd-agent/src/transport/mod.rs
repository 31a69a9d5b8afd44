//! How records come from the kernel programs into the agent: through the ring buffer, or through a
//! perf buffer for each CPU where there is none (before 5.8).

mod order;
mod perf;
mod ring;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use perf::{Buffer, Perf};
pub use ring::Ring;

/// What carries records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The ring buffer, one for all CPUs.
    Ring,
    /// Perf buffers, one for each CPU.
    Perf,
}

impl Transport {
    /// Name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring_buffer",
            Self::Perf => "perf_buffer",
        }
    }
}

/// Records that the kernel had no room for and only the buffer tells of; shared between who reads it
/// and who keeps the books.
#[derive(Clone, Debug, Default)]
pub struct Lost(Arc<AtomicU64>);

impl Lost {
    fn add(&self, records: u64) {
        self.0.fetch_add(records, Ordering::Relaxed);
    }

    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The agent's end of whatever carries records.
pub enum Records {
    /// The ring buffer.
    Ring(Ring),
    /// Perf buffers.
    Perf(Perf),
}

impl Records {
    /// Waits until there are records, gives each to `take` and returns how many there were:
    /// at most a batch, and 0 when the wake-up was for nothing.
    ///
    /// Safe to cancel: records are taken only after the last point at which it waits.
    ///
    /// # Errors
    ///
    /// When the runtime shuts down.
    pub async fn batch(&mut self, take: impl FnMut(&[u8])) -> io::Result<usize> {
        match self {
            Self::Ring(ring) => ring.batch(take).await,
            Self::Perf(perf) => perf.batch(take).await,
        }
    }

    /// Gives each record that is there now to `take` and returns how many there were.
    pub fn drain(&mut self, take: impl FnMut(&[u8])) -> usize {
        self.drain_up_to(usize::MAX, take)
    }

    /// The same for at most `limit` records.
    pub fn drain_up_to(&mut self, limit: usize, take: impl FnMut(&[u8])) -> usize {
        match self {
            Self::Ring(ring) => ring.drain_up_to(limit, take),
            Self::Perf(perf) => perf.drain_up_to(limit, take),
        }
    }

    /// Which it is.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Ring(_) => Transport::Ring,
            Self::Perf(_) => Transport::Perf,
        }
    }

    /// What the buffer tells of losses. Programs count those of the ring themselves.
    #[must_use]
    pub fn lost(&self) -> Lost {
        match self {
            Self::Ring(_) => Lost::default(),
            Self::Perf(perf) => perf.lost(),
        }
    }
}

/// Records that are handed over before the caller's other work gets its turn.
const BATCH: usize = 256;
