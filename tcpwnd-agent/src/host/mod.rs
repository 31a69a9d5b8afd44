//! What the host says, apart from its kernel's insides: clocks, namespaces, this process.
//!
//! Constraint: only reads.

pub mod clock;
pub mod netns;
pub mod privileges;
pub mod process;

use std::io;

/// An error of the system in its own words, without its number.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}
