//! What the verdict about a connection that this host opened rests on, as it is shown.

use super::evidence::{ChildEvidence, child};
use crate::detect::window_scale::{self, Offer};
use serde::Serialize;
use tcpwnd_common::{Connect, ConnectRecord, connect_flags};

/// Everything that was read of such a connection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OpenedEvidence {
    /// What this host's SYN offered; `None` when that is not known.
    pub syn: Option<OfferEvidence>,
    /// The last packet that came before the connection was established.
    pub synack: Option<GrantEvidence>,
    /// The socket.
    pub child: ChildEvidence,
    /// `net.ipv4.tcp_window_scaling` of the namespace.
    pub tcp_window_scaling: SettingEvidence,
    /// `net.ipv4.tcp_timestamps` of the namespace.
    pub tcp_timestamps: SettingEvidence,
}

/// What a SYN of this host offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OfferEvidence {
    /// Shift count; `None` without the option.
    pub window_scale: Option<u8>,
    /// Window clamp of the socket then, bytes.
    pub window_clamp: Option<u32>,
}

/// A SYN+ACK that this host received.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GrantEvidence {
    /// Sequence number.
    pub seq: u32,
    /// Its options were read; else what follows says nothing.
    pub readable: bool,
    /// Shift count as it is used, at most 14; `None` without the option.
    pub window_scale: Option<u8>,
    /// It carried timestamps.
    pub timestamps: bool,
    /// It permitted selective acknowledgements.
    pub sack: bool,
    /// Maximum segment size, bytes.
    pub mss: Option<u16>,
    /// Window of its header, bytes; it is never scaled.
    pub window: u16,
    /// It carried nothing of the three, as a SYN cookie without timestamps does, and as some
    /// middleboxes do.
    pub bare: bool,
}

/// A setting at both ends of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SettingEvidence {
    /// When the socket went to SYN_SENT; `None` when that was not seen.
    pub begun: Option<u8>,
    /// When it was established.
    pub established: u8,
}

impl OpenedEvidence {
    /// Reads a record.
    #[must_use]
    pub fn of(record: &ConnectRecord) -> Self {
        let connect = &record.connect;
        let begun = |value| (connect.flags & connect_flags::BEGUN != 0).then_some(value);
        let answered = connect.flags & connect_flags::ANSWERED != 0;
        let offer = |window_scale| OfferEvidence {
            window_scale,
            window_clamp: answered.then_some(connect.window_clamp),
        };
        Self {
            syn: match window_scale::offered(record) {
                Offer::Scale(shift) => Some(offer(Some(shift))),
                Offer::Nothing => Some(offer(None)),
                Offer::Unseen => None,
            },
            synack: answered.then(|| grant(connect)),
            child: child(&record.child),
            tcp_window_scaling: SettingEvidence {
                begun: begun(connect.begun_window_scaling),
                established: record.child.sysctl_window_scaling,
            },
            tcp_timestamps: SettingEvidence {
                begun: begun(connect.begun_timestamps),
                established: record.child.sysctl_timestamps,
            },
        }
    }

    /// Whether the SYN+ACK carried none of window scale, timestamps and SACK.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.synack.is_some_and(|synack| synack.bare)
    }
}

fn grant(connect: &Connect) -> GrantEvidence {
    let read = window_scale::options(&connect.options).filter(|options| !options.malformed);
    let options = read.unwrap_or_default();
    let (window_scale, timestamps) = (options.shift(), options.timestamps.is_some());
    let nothing = window_scale.is_none() && !timestamps && !options.sack_permitted;
    GrantEvidence {
        seq: connect.seq,
        readable: read.is_some(),
        window_scale,
        timestamps,
        sack: options.sack_permitted,
        mss: options.mss,
        window: connect.options.window,
        bare: read.is_some() && nothing,
    }
}
