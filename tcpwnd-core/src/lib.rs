//! tcpwnd-core, not written yet.
