//! The same question for connections that this host opened: what its SYN offered, what the SYN+ACK
//! granted, and what the socket uses.
//!
//! Constraint: the SYN+ACK is read from its packet and tied to the connection by its sequence number.
//! The SYN is not seen; what it offered is the shift count that was in the socket until the SYN+ACK
//! was taken in, and where that is 0, the setting as of before the SYN.

use super::evidence::{self, Offer, Used};
use super::verdict::{Direction, Judgement, began_before, log2_ratio};
use super::{
    Context, Impact, LostCause, MismatchCause, Path, UnverifiedCause, Verdict, options, peer_window,
};
use crate::tcp_options::Options;
use tcpwnd_common::{Connect, ConnectRecord, connect_flags};

/// SYN and ACK in a header's flags.
const SYN_ACK: u8 = 0x12;

/// Largest window without scaling, bytes.
const UNSCALED: u32 = 65_535;

/// Judges a connection that this host opened, as it left SYN_SENT for ESTABLISHED.
#[must_use]
pub fn judge_opened(record: &ConnectRecord, context: &Context) -> Judgement {
    match agreed(record, context) {
        Ok(agreed) => verified(record, &agreed),
        Err(cause) => Judgement {
            verdict: Verdict::Unverified(cause),
            path: if is_answer(record) {
                path(&record.connect)
            } else {
                Path::Unknown
            },
            receive: None,
            send: None,
            impact: Impact::of_socket(&record.child),
            inputs: Vec::new(),
        },
    }
}

/// What both segments said, and what the socket made of it.
struct Agreed {
    offered: Offer,
    granted: Option<u8>,
    used: Used,
}

fn agreed(record: &ConnectRecord, context: &Context) -> Result<Agreed, UnverifiedCause> {
    let connect = &record.connect;
    if connect.flags & connect_flags::ANSWERED == 0 {
        let before = began_before(&record.child, record.header.ktime_ns, context);
        return Err(if before {
            UnverifiedCause::BeforeStart
        } else {
            UnverifiedCause::NoRecord
        });
    }
    if !is_answer(record) {
        return Err(UnverifiedCause::StaleRecord);
    }
    let packet = options(&connect.options).filter(|packet| !packet.malformed);
    let packet = packet.ok_or(UnverifiedCause::Unreadable)?;
    let used = evidence::used(&record.child).ok_or(UnverifiedCause::Unreadable)?;
    let agreed = Agreed {
        offered: offered(record),
        granted: packet.shift(),
        used,
    };
    if is_possible(&agreed, &packet) {
        Ok(agreed)
    } else {
        Err(UnverifiedCause::Unreadable)
    }
}

/// Whether what was noted is the SYN+ACK that established this connection.
fn is_answer(record: &ConnectRecord) -> bool {
    let connect = &record.connect;
    connect.flags & connect_flags::ANSWERED != 0
        && connect.tcp_flags & SYN_ACK == SYN_ACK
        && connect.seq.wrapping_add(1) == record.rcv_nxt
}

/// Whether no reading contradicts another.
fn is_possible(agreed: &Agreed, packet: &Options) -> bool {
    match (agreed.used.receive, packet.shift(), agreed.offered) {
        // The socket scales by what was announced, both ways.
        (Some(receive), granted, Offer::Scale(offered)) => {
            receive == offered && agreed.used.send == granted
        }
        // Nobody can grant what was not offered (RFC 7323, section 2.2).
        (_, Some(_), Offer::Nothing | Offer::Unseen) | (Some(_), ..) => false,
        (None, ..) => true,
    }
}

/// What the SYN offered.
pub(crate) fn offered(record: &ConnectRecord) -> Offer {
    let connect = &record.connect;
    // tcp_select_initial_window (net/ipv4/tcp_output.c) leaves 0 where scaling is off.
    if connect.flags & connect_flags::ANSWERED != 0 && connect.rcv_wscale != 0 {
        return Offer::Scale(connect.rcv_wscale);
    }
    // Granted is only what was offered, and a shift count of 0 is one.
    let granted = options(&connect.options).is_some_and(|packet| packet.shift().is_some());
    let begun = connect.flags & connect_flags::BEGUN != 0;
    match (begun, connect.begun_window_scaling) {
        (true, 0) => Offer::Nothing,
        (true, _) => Offer::Scale(0),
        (false, _) if granted && is_answer(record) => Offer::Scale(0),
        (false, _) => Offer::Unseen,
    }
}

fn verified(record: &ConnectRecord, agreed: &Agreed) -> Judgement {
    let announced = match agreed.offered {
        Offer::Scale(shift) => Some(shift),
        Offer::Nothing | Offer::Unseen => None,
    };
    // The peer shifts its own windows, and reads this host's shifted, only if both carried it.
    let (peer_reads, peer_shifts) = (agreed.granted.and(announced), agreed.granted);
    let receive = Direction {
        announced,
        used: agreed.used.receive,
        shrink_log2: log2_ratio(agreed.used.receive, peer_reads),
    };
    let send = Direction {
        announced: agreed.granted,
        used: agreed.used.send,
        shrink_log2: log2_ratio(peer_shifts, agreed.used.send),
    };
    let verdict = match (agreed.used.receive, agreed.granted) {
        (Some(_), _) => Verdict::Ok,
        (None, Some(_)) => Verdict::Mismatch(of_mismatch(record)),
        (None, None) => Verdict::ScaleLost(of_loss(record, agreed.offered)),
    };
    Judgement {
        verdict,
        path: path(&record.connect),
        receive: Some(receive),
        send: Some(send),
        impact: impact(record, verdict, peer_reads, agreed.used.receive),
        inputs: Vec::new(),
    }
}

/// Why the socket does not scale, though SYN and SYN+ACK agreed on it.
fn of_mismatch(record: &ConnectRecord) -> MismatchCause {
    // tcp_parse_options (net/ipv4/tcp_input.c, 5.10) does not see the option then.
    if record.child.sysctl_window_scaling == 0 {
        MismatchCause::ScalingSwitchedOff
    } else {
        MismatchCause::Unknown
    }
}

/// Why there is no window scaling.
fn of_loss(record: &ConnectRecord, offered: Offer) -> LostCause {
    if record.child.sysctl_window_scaling == 0 {
        // Whatever the peer had granted would not have been heeded.
        return LostCause::DisabledHere;
    }
    match offered {
        Offer::Scale(_) => LostCause::PeerDidNotGrant,
        Offer::Nothing => LostCause::DisabledHere,
        Offer::Unseen => LostCause::Unknown,
    }
}

/// What it comes to: without scaling no window is larger than 65,535 bytes in either direction, for
/// as long as the connection lives; the socket's own clamp may be lower still.
fn impact(
    record: &ConnectRecord,
    verdict: Verdict,
    peer_reads: Option<u8>,
    used: Option<u8>,
) -> Impact {
    let child = &record.child;
    let measured = Impact::of_socket(child);
    let (received, sent) = match verdict {
        Verdict::ScaleLost(_) => (Some(child.window_clamp.min(UNSCALED)), Some(UNSCALED)),
        // This host's windows look too large to the peer then; it is the peer's that hold back.
        Verdict::Mismatch(_) => (None, Some(UNSCALED)),
        Verdict::Ok | Verdict::Unverified(_) => (None, None),
    };
    let bytes = |window: Option<u32>| window.map(u64::from);
    let rtt_us = measured.srtt_us.map(u64::from);
    Impact {
        peer_window_bytes: Some(peer_window(child.rcv_wnd, used, peer_reads)),
        ..measured.held_to(bytes(received), bytes(sent), rtt_us)
    }
}

/// With Fast Open the SYN+ACK acknowledges data as well; where it does not, the SYN was an ordinary
/// one in effect.
fn path(connect: &Connect) -> Path {
    if connect.acknowledged > 1 {
        Path::FastOpen
    } else {
        Path::Normal
    }
}
