//! How the kernel computes the shift count and the window clamp of a passive connection.
//!
//! `tcp_select_initial_window` (net/ipv4/tcp_output.c) as `tcp_openreq_init_rwin`
//! (net/ipv4/tcp_minisocks.c) calls it for a SYN+ACK and `cookie_v4_check`, `cookie_v6_check` for
//! the ACK of a cookie. Read in 5.10, 6.1, 6.12 and 7.3: what the shift count is computed from and
//! how is the same in all of them, but for two things.
//!
//! - How much of a receive buffer becomes window: by `tcp_adv_win_scale` up to 6.5, by the
//!   socket's `scaling_ratio` from 6.6 on (dfa2f0483360 "tcp: get rid of
//!   sysctl_tcp_adv_win_scale"). Which it is shows in the inputs: the one that the kernel lacks
//!   is 0.
//! - Before commit 909172a14974 "net: Update window_clamp if SOCK_RCVBUF is set" the cookie path
//!   did not limit the clamp to a receive buffer that was set ([`Basis::ignores_rcvbuf`]).
//!
//! Not reproduced: a BPF program that sets the initial receive window (`tcp_rwnd_init_bpf`), of
//! which nothing is recorded.

use crate::tcp_options::MAX_SHIFT;
use tcpwnd_common::Inputs;

/// Bit of `sk_userlocks`: SO_RCVBUF was set (SOCK_RCVBUF_LOCK, include/net/sock.h).
pub(super) const RCVBUF_LOCK: u8 = 2;

/// Largest window without a shift (U16_MAX).
const UNSCALED: u32 = 65_535;

/// TCP_RMEM_TO_WIN_SCALE (include/net/tcp.h, 6.6): `scaling_ratio` is in 1/256.
const RATIO_SHIFT: u32 = 8;

/// Everything that the computation starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    /// What was read in the kernel.
    pub inputs: Inputs,
    /// `net.core.rmem_max`, bytes.
    pub rmem_max: u32,
    /// The segment size to whose multiple the space is rounded down, bytes: this host's own for
    /// a SYN+ACK, less the room for timestamps; the peer's for a cookie's ACK.
    pub mss: u32,
    /// The clamp is not limited to a receive buffer that was set.
    pub ignores_rcvbuf: bool,
}

/// What the computation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Initial {
    /// Shift count.
    pub shift: u8,
    /// Window clamp of the request, bytes.
    pub window_clamp: u32,
}

/// Whether SO_RCVBUF was set on the listener.
pub(crate) fn rcvbuf_locked(inputs: &Inputs) -> bool {
    inputs.userlocks & RCVBUF_LOCK != 0
}

/// `tcp_win_from_space` (include/net/tcp.h): the part of a receive buffer that becomes window.
pub(crate) fn window_of_space(inputs: &Inputs, space: u32) -> u32 {
    let bytes = u64::from(space);
    let window = match (inputs.scaling_ratio, inputs.adv_win_scale) {
        // The sysctl is limited to -31 to 31.
        (0, scale @ ..=0) => bytes >> u32::from(scale.unsigned_abs()).min(63),
        (0, scale) => bytes - (bytes >> u32::from(scale.unsigned_abs()).min(63)),
        (ratio, _) => (bytes * u64::from(ratio)) >> RATIO_SHIFT,
    };
    // Never larger than the space, as no ratio reaches 1.
    u32::try_from(window).unwrap_or(u32::MAX)
}

impl Basis {
    /// The computation, in the kernel's order.
    pub(super) fn compute(&self) -> Initial {
        let inputs = &self.inputs;
        let full_space = window_of_space(inputs, inputs.rcvbuf);
        let mut clamp = match inputs.window_clamp {
            0 => inputs.route_window,
            set => set,
        };
        if rcvbuf_locked(inputs) && !self.ignores_rcvbuf && (clamp > full_space || clamp == 0) {
            clamp = full_space;
        }
        if clamp == 0 {
            clamp = UNSCALED << MAX_SHIFT;
        }
        let mut space = full_space.min(clamp);
        if self.mss != 0 && space > self.mss {
            space -= space % self.mss;
        }
        let space = space.max(inputs.tcp_rmem_max).max(self.rmem_max).min(clamp);
        let shift = space.checked_ilog2().unwrap_or(0).saturating_sub(15);
        let shift = shift.min(u32::from(MAX_SHIFT));
        Initial {
            // At most 14.
            shift: shift as u8,
            window_clamp: clamp.min(UNSCALED << shift),
        }
    }
}
