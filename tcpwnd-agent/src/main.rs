//! tcpwnd-agent, not written yet.

mod kernel;
mod probes;
mod transport;

fn main() {}
