//! tcpwnd-lab, not written yet.

fn main() {}
