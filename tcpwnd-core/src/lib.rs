//! What tcpwnd knows of TCP windows: records are decoded, judged, counted and described here.
//!
//! Constraint: everything is pure. No I/O, no clock, no aya, no tokio; times come in as
//! numbers, so that the whole crate is tested and fuzzed without root and without a kernel.
//!
//! [`Engine`] is the way in: bytes of a record go in, an [`Observation`] comes out, and
//! [`Books`] and [`OpenFlows`] hold what has added up.

#[cfg(test)]
mod fixture;
mod label;

pub mod books;
pub mod decode;
pub mod detect;
pub mod engine;
pub mod findings;
pub mod flow;
pub mod flows;
pub mod risk;
pub mod scan;
pub mod tcp_options;

pub use books::{Books, Gate, KernelTotals, Totals};
pub use decode::DecodeError;
pub use detect::window_scale::{LostCause, MismatchCause, Path, Role, UnverifiedCause, Verdict};
pub use engine::{Engine, Observation, Settings};
pub use findings::{ClosedFlow, Finding, Line, WindowSeen};
pub use flow::Flow;
pub use flows::{Listed, OpenFlow, OpenFlows, OpenPort};
