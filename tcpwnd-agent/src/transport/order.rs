//! Records from several buffers, in the order in which they were made.
//!
//! Each CPU has a buffer, and what follows from each other may lie in two: a connection that is
//! established on one CPU is closed on another. Each record carries the moment of its making. A
//! program has put its record into a buffer before it ends, and what follows from it (under the
//! lock of the same socket) is made later. So whoever first notes the time, then reads all buffers,
//! and gives away only what is not younger than the noted time, gives nothing away whose cause is
//! still to come. The rest waits for the next reading, however soon.

use std::collections::BTreeMap;

/// Where a record's length and time are (`tcpwnd_common::Header`).
const LEN: std::ops::Range<usize> = 4..8;
const KTIME: std::ops::Range<usize> = 8..16;

/// The kernel pads a sample, so that it ends where the next may begin.
const PADDING: usize = 8;

/// No record is made so long after its reading began, nanoseconds. Where something says so all the same,
/// it must not wait for that time to come.
const FUTURE: u64 = 10_000_000_000;

/// Records that wait to be given away. As many as the buffers hold.
#[derive(Debug, Default)]
pub struct Order {
    /// By time, nanoseconds of CLOCK_MONOTONIC, then by the order of reading.
    waiting: BTreeMap<(u64, u64), Box<[u8]>>,
    number: u64,
}

impl Order {
    /// Takes a sample in, which may lie in two pieces, read since `ktime_ns`.
    pub fn put(&mut self, head: &[u8], tail: &[u8], ktime_ns: u64) {
        let mut sample = Vec::with_capacity(head.len() + tail.len());
        sample.extend_from_slice(head);
        sample.extend_from_slice(tail);
        // Anything else is no record, and the decoder's to refuse.
        if let Some(len) = sample.get(LEN)
            && let Ok(len) = len.try_into().map(u32::from_ne_bytes)
            && let Some(padding) = sample.len().checked_sub(len as usize)
            && padding < PADDING
        {
            sample.truncate(len as usize);
        }
        let time = sample.get(KTIME).and_then(|bytes| bytes.try_into().ok());
        let time = time.map_or(0, u64::from_ne_bytes);
        let time = if time < ktime_ns.saturating_add(FUTURE) {
            time
        } else {
            ktime_ns
        };
        self.number += 1;
        self.waiting.insert((time, self.number), sample.into());
    }

    /// Gives away what was made until `ktime_ns`, at most `limit` records, and returns how many.
    pub fn take_until(
        &mut self,
        ktime_ns: u64,
        limit: usize,
        take: &mut impl FnMut(&[u8]),
    ) -> usize {
        let mut taken = 0;
        while taken < limit
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= ktime_ns
        {
            take(&first.remove());
            taken += 1;
        }
        taken
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    /// A record of `len` bytes that was made at `ktime_ns`, as it lies in a buffer.
    fn sample(ktime_ns: u64, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; (len as usize + 4).next_multiple_of(8) - 4];
        bytes[4..8].copy_from_slice(&len.to_ne_bytes());
        bytes[8..16].copy_from_slice(&ktime_ns.to_ne_bytes());
        bytes
    }

    fn times(order: &mut Order, until: u64, limit: usize) -> Vec<u64> {
        let mut times = Vec::new();
        let taken = order.take_until(until, limit, &mut |record| {
            times.push(u64::from_ne_bytes(record[8..16].try_into().unwrap()));
        });
        assert_eq!(taken, times.len());
        times
    }

    #[test]
    fn records_of_several_cpus_come_in_the_order_of_their_making() {
        let mut order = Order::default();
        for (cpu, ktimes) in [(0, [10, 40, 60]), (1, [5, 30, 50])] {
            for ktime in ktimes {
                order.put(&sample(ktime, 24 + 8 * cpu), &[], 0);
            }
        }
        assert_eq!(times(&mut order, 45, usize::MAX), [5, 10, 30, 40]);
        // Made while the buffers were read: what they follow from may have come behind the reader.
        order.put(&sample(48, 24), &[], 0);
        assert_eq!(times(&mut order, 100, usize::MAX), [48, 50, 60]);
        assert!(order.is_empty());
    }

    #[test]
    fn a_batch_is_as_long_as_it_may_be() {
        let mut order = Order::default();
        (0..10).for_each(|ktime| order.put(&sample(ktime, 24), &[], 0));
        assert_eq!(times(&mut order, 100, 4), [0, 1, 2, 3]);
        assert_eq!(times(&mut order, 4, 4), [4]);
        assert!(!order.is_empty());
    }

    #[test]
    fn records_of_the_same_moment_are_all_kept() {
        let mut order = Order::default();
        (0..3).for_each(|_| order.put(&sample(7, 24), &[], 0));
        assert_eq!(times(&mut order, 7, usize::MAX), [7, 7, 7]);
    }

    #[test]
    fn padding_is_cut_off_and_pieces_are_joined() {
        let mut order = Order::default();
        for len in [520, 88, 80, 96] {
            let sample = sample(1, len);
            assert_ne!(sample.len(), len as usize);
            let (head, tail) = sample.split_at(13);
            order.put(head, tail, 0);
            order.take_until(1, 1, &mut |record| assert_eq!(record.len(), len as usize));
        }
        assert!(order.is_empty());
    }

    #[test]
    fn what_is_no_record_is_handed_on_as_it_is() {
        let mut order = Order::default();
        let long = sample(1, 24)[..12].repeat(3);
        for bytes in [&[][..], &[1, 2, 3], &long] {
            order.put(bytes, &[], 0);
            let mut seen = Vec::new();
            order.take_until(u64::MAX, 1, &mut |record| seen = record.to_vec());
            assert_eq!(seen, bytes);
        }
    }

    #[test]
    fn nothing_waits_for_a_time_that_never_comes() {
        let mut order = Order::default();
        order.put(&sample(u64::MAX, 24), &[], 7);
        assert_eq!(times(&mut order, 7, usize::MAX), [u64::MAX]);
    }
}
