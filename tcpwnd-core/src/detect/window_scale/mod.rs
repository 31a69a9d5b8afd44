//! Whether both ends of a connection agree on the shift counts of its windows.
//!
//! Constraint: a verdict rests on what was read on that very connection. Where a piece of the
//! evidence is missing or contradicts another, the verdict is `unverified`, never `ok`.
//! docs/detection.md says how the rules follow from the RFCs and the kernel.

mod cause;
mod changes;
mod evidence;
mod impact;
mod initial;
mod listening;
mod opened;
mod paired;
mod proxied;
mod recomputed;
mod rmem_max;
#[cfg(test)]
mod tests;
mod verdict;

pub use changes::{ChangedInput, Input};
pub(crate) use evidence::{Offer, options};
pub use impact::{Held, Impact, Segment, peer_window};
pub(crate) use impact::{ceiling, on_wire, srtt_us};
pub(crate) use initial::{rcvbuf_locked, window_of_space};
pub use listening::{Listening, Share};
pub use opened::judge_opened;
pub(crate) use opened::offered;
pub(crate) use paired::Paired;
pub use rmem_max::{RmemMax, RmemMaxHistory};
pub(crate) use verdict::judge_paired;
pub use verdict::{Damage, Direction, Judgement, judge};

use crate::label::labels;
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// What the verdict needs to know beside the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// When every program was in place, nanoseconds of CLOCK_MONOTONIC.
    pub watching_since_ktime_ns: u64,
    /// In this kernel setting SO_RCVBUF sets the window clamp too (`tcp_set_rcvbuf`).
    pub rcvbuf_sets_clamp: bool,
    /// SYN+ACKs of a SYN proxy on this host are seen.
    pub sees_synproxy: bool,
    /// `net.core.rmem_max`.
    pub rmem_max: RmemMaxHistory,
}

labels! {
    /// Which end of a connection this host is.
    Role {
        /// It accepted the connection.
        Server = "server",
        /// It opened the connection.
        Client = "client",
    }
}

labels! {
    /// How a connection came about.
    Path {
        /// Through the SYN queue, or opened here without Fast Open.
        Normal = "normal",
        /// By a SYN cookie.
        Cookie = "cookie",
        /// By Fast Open (RFC 7413): data before the handshake was over.
        FastOpen = "fast_open",
        /// Through netfilter's SYN proxy, or another that marks its SYNs as that does.
        Synproxy = "synproxy",
        /// Nothing was seen of its SYN+ACK.
        Unknown = "unknown",
    }
}

labels! {
    /// Why the two ends disagree.
    MismatchCause {
        /// The ACK of a SYN cookie came without the timestamps that the SYN+ACK carried, and with
        /// them went what the cookie had kept in them.
        CookieTimestampsMissing = "cookie_timestamps_missing",
        /// The same, because `net.ipv4.tcp_timestamps` was switched off before the ACK came.
        TimestampsDisabled = "timestamps_disabled",
        /// With TCP-AO the SYN+ACK of a cookie leaves without timestamps, so that nothing of what
        /// it announced is kept.
        CookieTcpAo = "cookie_tcp_ao",
        /// The cookie path did not heed the listener's SO_RCVBUF, which the SYN+ACK did: a kernel
        /// without commit 909172a14974.
        CookieIgnoredRcvbuf = "cookie_ignored_rcvbuf",
        /// `net.ipv4.tcp_rmem[2]` was changed before the cookie's ACK came.
        TcpRmemChanged = "tcp_rmem_changed",
        /// `net.core.rmem_max` was.
        RmemMaxChanged = "rmem_max_changed",
        /// `net.ipv4.tcp_adv_win_scale` was.
        AdvWinScaleChanged = "tcp_adv_win_scale_changed",
        /// The listener's SO_RCVBUF was.
        RcvbufChanged = "rcvbuf_changed",
        /// The listener's TCP_WINDOW_CLAMP was.
        WindowClampChanged = "window_clamp_changed",
        /// The listener's SO_RCVLOWAT was, and with it its receive buffer and window clamp.
        RcvlowatChanged = "rcvlowat_changed",
        /// The window metric of the route to the peer was.
        RouteWindowChanged = "route_window_changed",
        /// The cookie's ACK came to another listener than the SYN.
        ListenerChanged = "listener_changed",
        /// The rule of netfilter's SYN proxy on this host announces another shift count than the
        /// listener's sockets use.
        SynproxyWscale = "synproxy_wscale",
        /// `net.ipv4.tcp_window_scaling` was switched off between the SYN that this host sent and the
        /// SYN+ACK.
        ScalingSwitchedOff = "scaling_switched_off",
        /// The evidence supports none of the others.
        Unknown = "unknown",
    }
}

labels! {
    /// Why a connection has no window scaling.
    LostCause {
        /// A SYN cookie without timestamps has no room for a shift count.
        CookieWithoutTimestamps = "cookie_without_timestamps",
        /// The SYN carried no window scale.
        PeerDidNotOffer = "peer_did_not_offer",
        /// The SYN that this host sent carried one, the SYN+ACK none.
        PeerDidNotGrant = "peer_did_not_grant",
        /// `net.ipv4.tcp_window_scaling` is 0 in this namespace.
        DisabledHere = "disabled_here",
        /// The SYN+ACK of netfilter's SYN proxy carried no window scale.
        SynproxyWithoutScale = "synproxy_without_scale",
        /// The evidence supports none of the others.
        Unknown = "unknown",
    }
}

labels! {
    /// Why there is no verdict.
    UnverifiedCause {
        /// The SYN+ACK can have left before watching began.
        BeforeStart = "before_start",
        /// Nothing is known of the SYN+ACK, though watching had begun.
        NoRecord = "no_record",
        /// What is known is of another handshake with the same addresses.
        StaleRecord = "stale_record",
        /// SYN+ACKs differed, and nothing shows which one the peer acted on.
        TwoSynacks = "two_synacks",
        /// A SYN proxy answered the peer, and what it announced was not seen.
        Synproxy = "synproxy",
        /// A BPF program answered the peer: it made the request that the connection comes of, or a SYN
        /// cookie that the stack took for its own.
        BpfCookie = "bpf_cookie",
        /// A value could not be read, or two readings of it contradict each other.
        Unreadable = "unreadable",
        /// The connection never became established; its outcome says what it came to.
        NotEstablished = "not_established",
    }
}

impl MismatchCause {
    /// Whether connections of this role can have it.
    #[must_use]
    pub const fn is_of(self, role: Role) -> bool {
        match role {
            Role::Server => !matches!(self, Self::ScalingSwitchedOff),
            Role::Client => matches!(self, Self::ScalingSwitchedOff | Self::Unknown),
        }
    }
}

impl LostCause {
    /// Whether connections of this role can have it.
    #[must_use]
    pub const fn is_of(self, role: Role) -> bool {
        match (self, role) {
            (Self::DisabledHere | Self::Unknown, _) => true,
            (Self::PeerDidNotGrant, role) => matches!(role, Role::Client),
            (
                Self::CookieWithoutTimestamps | Self::PeerDidNotOffer | Self::SynproxyWithoutScale,
                role,
            ) => matches!(role, Role::Server),
        }
    }

    /// Whether it was read of the peer's own segment: this host had scaling to give, or asked for
    /// it.
    #[must_use]
    pub const fn is_the_peers(self) -> bool {
        matches!(self, Self::PeerDidNotOffer | Self::PeerDidNotGrant)
    }
}

impl UnverifiedCause {
    /// Whether connections of this role can have it.
    #[must_use]
    pub const fn is_of(self, role: Role) -> bool {
        matches!(role, Role::Server)
            || !matches!(
                self,
                Self::TwoSynacks | Self::Synproxy | Self::BpfCookie | Self::NotEstablished
            )
    }
}

impl Path {
    /// Whether connections of this role can come about so.
    #[must_use]
    pub const fn is_of(self, role: Role) -> bool {
        matches!(role, Role::Server) || !matches!(self, Self::Cookie | Self::Synproxy)
    }
}

/// What became of the window scale of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Both ends agree, and windows are scaled.
    Ok,
    /// The ends disagree, in one direction or both.
    Mismatch(MismatchCause),
    /// Both ends agree that windows are not scaled.
    ScaleLost(LostCause),
    /// There is not enough evidence.
    Unverified(UnverifiedCause),
}

impl Verdict {
    /// Name in metrics, tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Mismatch(_) => "mismatch",
            Self::ScaleLost(_) => "scale_lost",
            Self::Unverified(_) => "unverified",
        }
    }

    /// Name of the cause; `None` for `ok`.
    #[must_use]
    pub const fn cause(self) -> Option<&'static str> {
        match self {
            Self::Ok => None,
            Self::Mismatch(cause) => Some(cause.name()),
            Self::ScaleLost(cause) => Some(cause.name()),
            Self::Unverified(cause) => Some(cause.name()),
        }
    }

    /// The damage that these two names stand for; `None` where the first is of no damage. A cause
    /// that is not known, as of a later version, counts as the unknown one.
    #[must_use]
    pub fn damage(name: &str, cause: &str) -> Option<Self> {
        match name {
            "mismatch" => {
                let cause = MismatchCause::from_name(cause);
                Some(Self::Mismatch(cause.unwrap_or(MismatchCause::Unknown)))
            }
            "scale_lost" => {
                let cause = LostCause::from_name(cause);
                Some(Self::ScaleLost(cause.unwrap_or(LostCause::Unknown)))
            }
            _ => None,
        }
    }

    /// Whether it is worth a line by itself: everything but `ok` and connections that never
    /// became established.
    #[must_use]
    pub const fn is_finding(self) -> bool {
        !matches!(
            self,
            Self::Ok | Self::Unverified(UnverifiedCause::NotEstablished)
        )
    }

    /// Whether the connection is slower than it could be for as long as it lives.
    #[must_use]
    pub const fn is_damaged(self) -> bool {
        matches!(self, Self::Mismatch(_) | Self::ScaleLost(_))
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut verdict = serializer.serialize_struct("Verdict", 2)?;
        verdict.serialize_field("verdict", self.name())?;
        verdict.serialize_field("cause", &self.cause())?;
        verdict.end()
    }
}
