//! tcpwnd-agent, not written yet.

fn main() {}
