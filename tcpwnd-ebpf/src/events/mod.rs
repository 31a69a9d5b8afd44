//! How a record gets to the agent.
//!
//! The one place where the two objects differ in that: through the ring buffer (`ring`, from 5.8
//! on), or through a perf buffer for each CPU (`perf`). Both hand out room for a record, to be
//! filled and submitted.

#[cfg(feature = "perf")]
mod perf;
#[cfg(not(feature = "perf"))]
mod ring;

#[cfg(feature = "perf")]
pub use perf::reserve;
#[cfg(not(feature = "perf"))]
pub use ring::reserve;
