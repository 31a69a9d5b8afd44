//! The settings that remedies speak of, as they are in this process' network namespace.

use super::sysctls;

/// Present values; `None` for what this namespace does not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Inode number of the namespace that they are of.
    pub netns: Option<u32>,
    /// `net.core.somaxconn`, connections.
    pub somaxconn: Option<u32>,
    /// `net.ipv4.tcp_max_syn_backlog`, connections.
    pub max_syn_backlog: Option<u32>,
    /// `net.ipv4.tcp_syncookies`.
    pub syncookies: Option<u32>,
    /// `net.ipv4.tcp_timestamps`.
    pub timestamps: Option<u32>,
    /// `net.ipv4.tcp_window_scaling`.
    pub window_scaling: Option<u32>,
}

impl Settings {
    /// Reads them.
    #[must_use]
    pub fn read() -> Self {
        let read = sysctls::read(false);
        Self {
            netns: super::netns::own(),
            somaxconn: read.somaxconn,
            max_syn_backlog: read.tcp_max_syn_backlog,
            syncookies: read.tcp_syncookies,
            timestamps: read.tcp_timestamps,
            window_scaling: read.tcp_window_scaling,
        }
    }
}
