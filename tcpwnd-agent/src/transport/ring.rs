//! The ring buffer as an asynchronous source of records.
//!
//! Constraint: no record is copied here, and none is left behind. The kernel wakes the reader
//! only when a record is committed to a ring whose consumer had caught up, so readiness may be
//! given up only after the ring was seen empty.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::BATCH;

/// The agent's end of the ring buffer `EVENTS`.
pub struct Ring {
    buffer: AsyncFd<RingBuf<MapData>>,
}

impl Ring {
    /// Registers the ring with the runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch the map's descriptor.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn new(buffer: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the descriptor is that of the map, which the ring owns and never exchanges; the
        // ring stays inside of the registration, which ends before the ring is dropped.
        let buffer = unsafe { AsyncFd::register_with_interest(buffer, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self { buffer })
    }

    /// Waits until there are records, gives each to `take` and returns how many there were:
    /// at most a batch, and 0 when the wake-up was for nothing.
    ///
    /// Safe to cancel: records are taken only after the last point at which it waits.
    ///
    /// # Errors
    ///
    /// When the runtime shuts down.
    pub async fn batch(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut guard = self.buffer.readable_mut().await?;
        let taken = drain(guard.get_inner_mut(), BATCH, &mut take);
        if taken < BATCH {
            // The ring was seen empty: whatever is committed from here on wakes us again.
            guard.clear_ready();
        }
        Ok(taken)
    }

    /// Gives each record that is there now to `take`, at most `limit`, and returns how many there
    /// were.
    pub fn drain_up_to(&mut self, limit: usize, mut take: impl FnMut(&[u8])) -> usize {
        drain(self.buffer.get_mut(), limit, &mut take)
    }
}

fn drain(buffer: &mut RingBuf<MapData>, limit: usize, take: &mut impl FnMut(&[u8])) -> usize {
    let mut taken = 0;
    while taken < limit {
        let Some(record) = buffer.next() else { break };
        take(&record);
        taken += 1;
    }
    taken
}
