//! Perf buffers, one for each CPU that was online at the start, as one asynchronous source of records.
//!
//! Constraint: no record is left behind, and none comes before what it follows from (`order`). The
//! kernel wakes the reader for every record; readiness is given up before the buffers are read, so
//! that whatever comes later wakes it again.

use std::io;
use std::task::{Context, Poll};

use aya::maps::MapData;
use aya::maps::perf::{PerfEvent, PerfEventArrayBuffer};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::order::Order;
use super::{BATCH, Lost};
use crate::host::clock;

/// The buffer of a CPU.
pub type Buffer = PerfEventArrayBuffer<MapData>;

/// The agent's end of the perf buffers `EVENTS`.
pub struct Perf {
    buffers: Vec<AsyncFd<Buffer>>,
    order: Order,
    /// Until when what waits may be given away, nanoseconds of CLOCK_MONOTONIC.
    until_ktime_ns: u64,
    lost: Lost,
}

impl Perf {
    /// Registers the buffers with the runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot watch a buffer's descriptor.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn new(buffers: Vec<Buffer>) -> io::Result<Self> {
        let register = |buffer| {
            // SAFETY: the descriptor is that of the event, which the buffer owns and never
            // exchanges; the buffer stays inside of the registration, which ends before the buffer
            // is dropped.
            unsafe { AsyncFd::register_with_interest(buffer, Interest::READABLE) }
                .map_err(|error| error.into_parts().1)
        };
        Ok(Self {
            buffers: buffers
                .into_iter()
                .map(register)
                .collect::<io::Result<_>>()?,
            order: Order::default(),
            until_ktime_ns: 0,
            lost: Lost::default(),
        })
    }

    /// What the buffers told of losses.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.lost.clone()
    }

    /// As [`super::Records::batch`].
    ///
    /// # Errors
    ///
    /// When the runtime shuts down.
    pub async fn batch(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        // What waits was read before its turn; there is no wake-up for it.
        if self.order.is_empty() {
            std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        }
        Ok(self.step(BATCH, &mut take))
    }

    /// As [`super::Records::drain_up_to`].
    pub fn drain_up_to(&mut self, limit: usize, mut take: impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        while taken < limit {
            let step = self.step(limit - taken, &mut take);
            taken += step;
            if step == 0 && self.order.is_empty() {
                break;
            }
        }
        taken
    }

    /// Ready when a buffer is; each that is has its readiness taken away.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outcome = Poll::Pending;
        for buffer in &mut self.buffers {
            if let Poll::Ready(guard) = buffer.poll_read_ready_mut(cx) {
                guard?.clear_ready();
                outcome = Poll::Ready(Ok(()));
            }
        }
        outcome
    }

    /// Gives away what may be given away, and reads first if there is nothing.
    fn step(&mut self, limit: usize, take: &mut impl FnMut(&[u8])) -> usize {
        match self.order.take_until(self.until_ktime_ns, limit, take) {
            0 => {
                self.read();
                self.order.take_until(self.until_ktime_ns, limit, take)
            }
            taken => taken,
        }
    }

    /// Reads what is in the buffers.
    fn read(&mut self) {
        self.until_ktime_ns = clock::monotonic_ns();
        let now = self.until_ktime_ns;
        for buffer in &mut self.buffers {
            buffer.get_mut().for_each(|event| match event {
                PerfEvent::Sample { head, tail } => self.order.put(head, tail, now),
                PerfEvent::Lost { count } => self.lost.add(count),
            });
        }
    }
}
