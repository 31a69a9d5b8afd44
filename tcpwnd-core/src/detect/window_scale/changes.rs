//! What changed between a SYN+ACK and the ACK of its cookie, among the things that a shift count
//! is computed from.
//!
//! Constraint: one thing that somebody did is one change, with all that the kernel makes of it;
//! two are never taken for one.

use super::MismatchCause;
use super::initial::{Basis, rcvbuf_locked, window_of_space};
use crate::label::labels;
use serde::Serialize;
use tcpwnd_common::Inputs;

labels! {
    /// An input of the computation, as it is reported.
    Input {
        /// Inode number of the listener's socket.
        Listener = "listener",
        /// Receive buffer of the listener, bytes.
        Rcvbuf = "rcvbuf",
        /// 1 where SO_RCVBUF was set on it.
        RcvbufLocked = "rcvbuf_locked",
        /// Its window clamp, bytes; 0 for none.
        WindowClamp = "window_clamp",
        /// SO_RCVLOWAT, bytes.
        Rcvlowat = "rcvlowat",
        /// `scaling_ratio` of the listener, in 1/256.
        ScalingRatio = "scaling_ratio",
        /// `net.ipv4.tcp_rmem[2]`, bytes.
        TcpRmemMax = "tcp_rmem_max",
        /// `net.ipv4.tcp_adv_win_scale`.
        AdvWinScale = "tcp_adv_win_scale",
        /// `net.ipv4.tcp_timestamps`.
        Timestamps = "tcp_timestamps",
        /// Window metric of the route, bytes; 0 for none.
        RouteWindow = "route_window",
        /// `net.core.rmem_max`, bytes.
        RmemMax = "rmem_max",
    }
}

/// An input that was not the same at both moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedInput {
    /// Which.
    #[serde(skip)]
    pub input: Input,
    /// When the SYN+ACK was built.
    pub synack: i64,
    /// When the ACK of the cookie came.
    pub ack: i64,
}

/// The value of an input; `None` for the one that the programs cannot read.
fn value(inputs: &Inputs, input: Input) -> Option<i64> {
    Some(match input {
        Input::Listener => i64::try_from(inputs.listener).unwrap_or(i64::MAX),
        Input::Rcvbuf => inputs.rcvbuf.into(),
        Input::RcvbufLocked => rcvbuf_locked(inputs).into(),
        Input::WindowClamp => inputs.window_clamp.into(),
        Input::Rcvlowat => inputs.rcvlowat.into(),
        Input::ScalingRatio => inputs.scaling_ratio.into(),
        Input::TcpRmemMax => inputs.tcp_rmem_max.into(),
        Input::AdvWinScale => inputs.adv_win_scale.into(),
        Input::Timestamps => inputs.sysctl_timestamps.into(),
        Input::RouteWindow => inputs.route_window.into(),
        Input::RmemMax => return None,
    })
}

/// The inputs that differ, in the order of [`Input::ALL`].
pub(super) fn differing(then: &Inputs, now: &Inputs, rmem_max: &[(u32, u32)]) -> Vec<ChangedInput> {
    let read = Input::ALL.iter().filter_map(|&input| {
        let (synack, ack) = value(then, input).zip(value(now, input))?;
        (synack != ack).then_some(ChangedInput { input, synack, ack })
    });
    // Of several pairs that it can have had, none is known.
    let rmem_max = match rmem_max {
        &[(then, now)] if then != now => Some(ChangedInput {
            input: Input::RmemMax,
            synack: then.into(),
            ack: now.into(),
        }),
        _ => None,
    };
    read.chain(rmem_max).collect()
}

/// One thing that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Listener,
    /// With `sets_clamp` the kernel sets the window clamp to what the buffer yields.
    Rcvbuf {
        sets_clamp: bool,
    },
    /// Receive buffer and perhaps window clamp, without SO_RCVBUF: SO_RCVLOWAT does that, but not
    /// in a way that its present value would tell.
    Buffer,
    WindowClamp,
    Rcvlowat,
    ScalingRatio,
    TcpRmemMax,
    RmemMax,
    RouteWindow,
    AdvWinScale,
    Mss,
    IgnoresRcvbuf,
}

impl Change {
    /// What it is called as a cause; `None` for what is no cause by itself.
    pub(super) fn cause(self) -> Option<MismatchCause> {
        Some(match self {
            Self::Listener => MismatchCause::ListenerChanged,
            Self::Rcvbuf { .. } => MismatchCause::RcvbufChanged,
            Self::WindowClamp => MismatchCause::WindowClampChanged,
            Self::Rcvlowat => MismatchCause::RcvlowatChanged,
            Self::TcpRmemMax => MismatchCause::TcpRmemChanged,
            Self::RmemMax => MismatchCause::RmemMaxChanged,
            Self::RouteWindow => MismatchCause::RouteWindowChanged,
            Self::AdvWinScale => MismatchCause::AdvWinScaleChanged,
            Self::IgnoresRcvbuf => MismatchCause::CookieIgnoredRcvbuf,
            Self::Buffer | Self::ScalingRatio | Self::Mss => return None,
        })
    }

    /// `then` with this change and no other.
    pub(super) fn apply(self, then: &Basis, now: &Basis) -> Basis {
        let mut basis = *then;
        let to = &mut basis.inputs;
        let from = &now.inputs;
        match self {
            Self::Listener => {
                to.rcvbuf = from.rcvbuf;
                to.userlocks = from.userlocks;
                to.window_clamp = from.window_clamp;
                to.rcvlowat = from.rcvlowat;
                to.scaling_ratio = from.scaling_ratio;
            }
            Self::Rcvbuf { sets_clamp } => {
                to.rcvbuf = from.rcvbuf;
                to.userlocks = from.userlocks;
                if sets_clamp {
                    to.window_clamp = window_of_space(from, from.rcvbuf);
                }
            }
            Self::WindowClamp => to.window_clamp = from.window_clamp,
            Self::Rcvlowat | Self::Buffer => {
                to.rcvbuf = from.rcvbuf;
                to.window_clamp = from.window_clamp;
            }
            Self::ScalingRatio => to.scaling_ratio = from.scaling_ratio,
            Self::TcpRmemMax => to.tcp_rmem_max = from.tcp_rmem_max,
            Self::RouteWindow => to.route_window = from.route_window,
            Self::AdvWinScale => to.adv_win_scale = from.adv_win_scale,
            Self::RmemMax => basis.rmem_max = now.rmem_max,
            Self::Mss => basis.mss = now.mss,
            Self::IgnoresRcvbuf => basis.ignores_rcvbuf = now.ignores_rcvbuf,
        }
        basis
    }
}

/// Everything that changed from one moment to the other.
///
/// `rcvbuf_sets_clamp` says that setting SO_RCVBUF sets the window clamp too, as kernels with
/// `tcp_set_rcvbuf` (net/ipv4/tcp.c, 7.3) do.
pub(super) fn changes(then: &Basis, now: &Basis, rcvbuf_sets_clamp: bool) -> Vec<Change> {
    let (old, new) = (&then.inputs, &now.inputs);
    let mut changes = Vec::new();
    if old.listener == new.listener {
        of_socket(old, new, rcvbuf_sets_clamp, &mut changes);
    } else {
        changes.push(Change::Listener);
    }
    let others = [
        (old.tcp_rmem_max != new.tcp_rmem_max, Change::TcpRmemMax),
        (then.rmem_max != now.rmem_max, Change::RmemMax),
        (old.route_window != new.route_window, Change::RouteWindow),
        (old.adv_win_scale != new.adv_win_scale, Change::AdvWinScale),
        (then.mss != now.mss, Change::Mss),
        (now.ignores_rcvbuf, Change::IgnoresRcvbuf),
    ];
    changes.extend(
        others
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, change)| change),
    );
    changes
}

/// What was changed on a listener that stayed the same.
fn of_socket(old: &Inputs, new: &Inputs, rcvbuf_sets_clamp: bool, changes: &mut Vec<Change>) {
    if old.scaling_ratio != new.scaling_ratio {
        changes.push(Change::ScalingRatio);
    }
    if old.rcvlowat != new.rcvlowat && is_all_of_rcvlowat(old, new) {
        return changes.push(Change::Rcvlowat);
    }
    if old.rcvbuf != new.rcvbuf && !rcvbuf_locked(old) && !rcvbuf_locked(new) {
        return changes.push(Change::Buffer);
    }
    let mut clamp = old.window_clamp;
    if old.rcvbuf != new.rcvbuf || rcvbuf_locked(old) != rcvbuf_locked(new) {
        let sets_clamp = rcvbuf_sets_clamp && rcvbuf_locked(new);
        if sets_clamp {
            clamp = window_of_space(new, new.rcvbuf);
        }
        changes.push(Change::Rcvbuf { sets_clamp });
    }
    if clamp != new.window_clamp {
        changes.push(Change::WindowClamp);
    }
}

/// Whether setting SO_RCVLOWAT is all that it took to change receive buffer and window clamp:
/// `tcp_set_rcvlowat` (net/ipv4/tcp.c) of 5.10 and 6.1, and of 6.12 and 7.3 with a scaling ratio.
fn is_all_of_rcvlowat(old: &Inputs, new: &Inputs) -> bool {
    if rcvbuf_locked(old) || rcvbuf_locked(new) {
        return false;
    }
    let lowat = u64::from(new.rcvlowat);
    let (rcvbuf, clamp) = if new.scaling_ratio == 0 {
        let space = lowat * 2;
        if space <= old.rcvbuf.into() {
            return false;
        }
        let clamp = u32::try_from(space).map_or(u32::MAX, |space| window_of_space(new, space));
        (space, clamp)
    } else {
        let space = (lowat << 8) / u64::from(new.scaling_ratio);
        if space <= old.rcvbuf.into() {
            return false;
        }
        let raised = old.window_clamp != 0 && old.window_clamp < new.rcvlowat;
        let clamp = if raised {
            new.rcvlowat
        } else {
            old.window_clamp
        };
        (space, clamp)
    };
    (u64::from(new.rcvbuf), new.window_clamp) == (rcvbuf, clamp)
}
