//! Records through the ring buffer: room is reserved in it, so that what was reserved arrives.

use crate::env::Env;
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;
use aya_ebpf::maps::ring_buf::RingBufEntry;

/// Records on their way to user space. The agent sets the size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(2 << 20, 0);

/// Room for a record.
pub struct Entry<T: 'static>(RingBufEntry<T>);

/// Room for a record, if there is any. It has to be submitted.
#[inline(always)]
pub fn reserve<T: 'static>() -> Option<Entry<T>> {
    EVENTS.reserve(0).map(Entry)
}

impl<T> Entry<T> {
    /// The room, of the record's size and alignment.
    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }

    /// Writes the whole record.
    #[inline(always)]
    pub fn write(&mut self, record: T) {
        self.0.write(record);
    }

    /// Sends it. False if it got lost.
    #[inline(always)]
    pub fn submit(self, _: Env) -> bool {
        self.0.submit(0);
        true
    }
}
