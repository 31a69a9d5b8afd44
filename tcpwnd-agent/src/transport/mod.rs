//! How records come from the kernel programs into the agent.

mod ring;

pub use ring::Ring;
