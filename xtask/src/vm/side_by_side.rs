//! Several VMs, as many at the same time as the machine bears, or as TCPWND_VMS says.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// VMs at the same time: each keeps about one core busy.
const AT_ONCE: usize = 2;

/// The variable that overrides it.
const VARIABLE: &str = "TCPWND_VMS";

/// Does `work` with every item, beginning in the order given, and returns what came out.
pub fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> Vec<R> + Sync) -> Vec<R> {
    let at_once = at_once(std::env::var(VARIABLE).ok().as_deref());
    let queue = Mutex::new(VecDeque::from(items));
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
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

fn at_once(variable: Option<&str>) -> usize {
    match variable.map(str::parse) {
        None => AT_ONCE,
        Some(Ok(number @ 1..)) => number,
        Some(_) => {
            eprintln!("{VARIABLE} is no number of VMs; {AT_ONCE} run at the same time");
            AT_ONCE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, at_once};

    #[test]
    fn nonsense_does_not_stop_it() {
        assert_eq!(at_once(None), AT_ONCE);
        assert_eq!(at_once(Some("3")), 3);
        for nonsense in ["0", "", "two"] {
            assert_eq!(at_once(Some(nonsense)), AT_ONCE);
        }
    }
}
