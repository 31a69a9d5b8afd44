//! tcpwnd-common, not written yet.
