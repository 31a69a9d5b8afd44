//! What a listener will announce, from what is known of it outside of the kernel.
//!
//! Constraint: a window clamp of the listener or of a route is not known there, and is taken to be
//! none.

use super::initial::Basis;
use tcpwnd_common::Inputs;

/// How much of a receive buffer becomes window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// By `net.ipv4.tcp_adv_win_scale`, up to 6.5.
    AdvWinScale(i8),
    /// Half: the `scaling_ratio` that a socket begins with (TCP_DEFAULT_SCALING_RATIO,
    /// include/net/tcp.h, 6.12).
    Half,
}

/// A listening socket, and the settings of its namespace that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Receive buffer, bytes (`sk_rcvbuf`: twice what an application passes as SO_RCVBUF).
    pub rcvbuf: u32,
    /// SO_RCVBUF was set.
    pub rcvbuf_set: bool,
    /// `tcp_rmem[2]`, bytes.
    pub tcp_rmem_max: u32,
    /// `net.core.rmem_max`, bytes.
    pub rmem_max: u32,
    /// How much of the buffer becomes window.
    pub share: Share,
}

impl Listening {
    /// Shift count of its SYN+ACKs.
    #[must_use]
    pub fn announced(&self) -> u8 {
        self.shift(false)
    }

    /// Shift count that a cookie path comes to that ignores SO_RCVBUF: never less than
    /// [`Self::announced`].
    #[must_use]
    pub fn ignoring_rcvbuf(&self) -> u8 {
        self.shift(true)
    }

    fn shift(&self, ignores_rcvbuf: bool) -> u8 {
        let (scaling_ratio, adv_win_scale) = match self.share {
            Share::AdvWinScale(scale) => (0, scale),
            Share::Half => (128, 0),
        };
        let inputs = Inputs {
            listener: 0,
            cgroup: 0,
            rcvbuf: self.rcvbuf,
            window_clamp: 0,
            tcp_rmem_max: self.tcp_rmem_max,
            route_window: 0,
            accept_queue_len: 0,
            accept_queue_limit: 0,
            syn_queue_len: 0,
            userlocks: if self.rcvbuf_set {
                super::initial::RCVBUF_LOCK
            } else {
                0
            },
            scaling_ratio,
            adv_win_scale,
            sysctl_window_scaling: 1,
            sysctl_timestamps: 1,
            complete: 1,
            present: 1,
            reserved: 0,
            rcvlowat: 1,
        };
        let basis = Basis {
            inputs,
            rmem_max: self.rmem_max,
            // The segment size is a connection's.
            mss: 0,
            ignores_rcvbuf,
        };
        basis.compute().shift
    }
}
