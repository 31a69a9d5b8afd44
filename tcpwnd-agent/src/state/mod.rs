//! What outlives the agent: the damaged connections that it knew to be open, in a small file, so
//! that they do not look healed to the next one.
//!
//! Constraint: nothing is believed because the file says so. A connection counts only if the kernel
//! has that very socket open, and a file that cannot be used costs a line on standard error.

mod document;
mod file;
mod former;
mod keeper;
mod sockets;

pub use keeper::{Keeper, Numbers};
