//! Several VMs, as many at the same time as the machine bears.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// VMs at the same time: each keeps about one core busy.
const AT_ONCE: usize = 2;

/// Does `work` with every item, beginning in the order given, and returns what came out.
pub fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> Vec<R> + Sync) -> Vec<R> {
    let queue = Mutex::new(VecDeque::from(items));
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(item) = next else { break };
                    let done = work(item);
                    results
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(done);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}
