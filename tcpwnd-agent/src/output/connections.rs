//! The HTTP connections that are open, of which there is a limit.
//!
//! Constraint: whoever comes gets in. At the limit the connection goes on which nothing has
//! happened for the longest time, so that clients that are slow on purpose keep nobody out.

use std::cell::{Cell, RefCell};

use tokio::sync::oneshot;

/// Connections at a time.
pub const LIMIT: usize = 64;

/// The open connections.
#[derive(Debug, Default)]
pub struct Connections {
    open: RefCell<Vec<Open>>,
    // Numbers connections and what happens on them, so that it needs no clock.
    happened: Cell<u64>,
    displaced: Cell<u64>,
}

#[derive(Debug)]
struct Open {
    id: u64,
    last: u64,
    // Dropped to tell the connection that it is to end.
    _end: oneshot::Sender<()>,
}

/// One connection's place; given up when it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    connections: &'a Connections,
    id: u64,
}

impl Connections {
    /// A place for a new connection, and what completes when it has to make room.
    pub fn enter(&self) -> (Place<'_>, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let id = self.count();
        let mut open = self.open.borrow_mut();
        if open.len() >= LIMIT
            && let Some(longest) = (0..open.len()).min_by_key(|&index| open[index].last)
        {
            open.swap_remove(longest);
            self.displaced.set(self.displaced.get() + 1);
        }
        open.push(Open {
            id,
            last: id,
            _end: end,
        });
        let place = Place {
            connections: self,
            id,
        };
        (place, ended)
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.borrow().len()
    }

    /// Connections that had to make room.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.displaced.get()
    }

    fn count(&self) -> u64 {
        self.happened.set(self.happened.get() + 1);
        self.happened.get()
    }
}

impl Place<'_> {
    /// Something happened on this connection: a whole request came.
    pub fn touch(&self) {
        let now = self.connections.count();
        let mut open = self.connections.open.borrow_mut();
        if let Some(own) = open.iter_mut().find(|open| open.id == self.id) {
            own.last = now;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.connections.open.borrow_mut();
        open.retain(|open| open.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::{Connections, LIMIT};

    #[test]
    fn the_one_goes_on_which_nothing_happened_for_longest() {
        let connections = Connections::default();
        let mut all: Vec<_> = (0..LIMIT).map(|_| connections.enter()).collect();
        assert_eq!((connections.open(), connections.displaced()), (LIMIT, 0));
        all[0].0.touch();
        let late = connections.enter();
        assert_eq!((connections.open(), connections.displaced()), (LIMIT, 1));
        let told: Vec<_> = (0..LIMIT)
            .filter(|&index| all[index].1.try_recv() != Err(empty()))
            .collect();
        assert_eq!(told, [1]);
        drop(late);
        assert_eq!(connections.open(), LIMIT - 1);
        // The displaced one's own end takes nobody else's place away.
        drop(all.swap_remove(1));
        assert_eq!(connections.open(), LIMIT - 1);
        drop(all);
        assert_eq!((connections.open(), connections.displaced()), (0, 1));
    }

    fn empty() -> tokio::sync::oneshot::error::TryRecvError {
        tokio::sync::oneshot::error::TryRecvError::Empty
    }
}
