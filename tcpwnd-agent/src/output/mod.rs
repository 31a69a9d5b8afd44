//! How findings, figures and errors leave the agent.
//!
//! Constraint: decides nothing. What is shown was judged and counted in `tcpwnd-core`.

pub mod exposition;
pub mod http;
pub mod json;
pub mod log;
pub mod metrics;
pub mod ports;
pub mod remedy;
pub mod summary;
pub mod table;

use std::io;

/// An error of the system without its number.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}
