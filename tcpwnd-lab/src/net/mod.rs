//! Networks to experiment in: namespaces, links with delay, settings.
//!
//! Constraint: everything made here disappears with the value that stands for it, and nothing
//! outside of it changes, so scenarios can follow each other in one machine.

mod command;
mod namespace;
mod pair;
mod setting;

pub use command::{output, run};
pub use namespace::{Namespace, in_a_thread};
pub use pair::{Pair, PairOptions};
pub use setting::Changed;
