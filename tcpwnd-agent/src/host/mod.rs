//! What the host says, apart from its kernel's insides: clocks, namespaces, this process.
//!
//! Constraint: only reads.

pub mod clock;
pub mod netns;
pub mod privileges;
pub mod process;
