//! What of a peer goes with one shift count, and what does not.
//!
//! Constraint: the newest stops decide: what a peer does changes with what it has to send, and with
//! its window, which may have been large at first.

use std::collections::{BTreeSet, VecDeque};

/// Stops at an edge, and different sizes of the windows among them, that make a stop no coincidence.
pub const STOPS: usize = 6;
pub const SIZES: usize = 3;

/// Stops that are remembered.
const NEWEST: usize = 32;

/// Sizes that are remembered.
const MOST_SIZES: usize = 64;

/// What goes with a shift count.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The furthest edge that the peer can have known of.
    pub known_edge: Option<u32>,
    /// Times that bytes beyond every edge were seen.
    pub beyond: u32,
    /// Whether each of the newest stops was at an edge.
    stops: VecDeque<bool>,
    /// Sizes of the windows at whose edge any stop was, bytes.
    sizes: BTreeSet<u32>,
}

impl Tally {
    /// The peer stopped: at the edge of a window of this size, in bytes, or elsewhere.
    pub fn stopped(&mut self, size: Option<u32>) {
        if self.stops.len() == NEWEST {
            self.stops.pop_front();
        }
        self.stops.push_back(size.is_some());
        if self.sizes.len() < MOST_SIZES {
            self.sizes.extend(size);
        }
    }

    pub fn at_edge(&self) -> usize {
        self.stops.iter().filter(|at_edge| **at_edge).count()
    }

    pub fn elsewhere(&self) -> usize {
        self.stops.len() - self.at_edge()
    }

    pub fn sizes(&self) -> usize {
        self.sizes.len()
    }

    /// Whether the peer stops at exactly the edges, again and again.
    pub fn stops_at_edges(&self) -> bool {
        self.at_edge() >= STOPS && self.sizes() >= SIZES && self.at_edge() >= 2 * self.elsewhere()
    }

    /// Whether too few sizes are all that it lacks for that.
    pub fn is_of_one_size(&self) -> bool {
        self.at_edge() >= STOPS && self.sizes() < SIZES
    }
}
