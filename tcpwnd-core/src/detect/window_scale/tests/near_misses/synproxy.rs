//! What looks like the doing of netfilter's SYN proxy.

use super::*;
use crate::fixture::{PROXY_TSVAL, healthy, options, proxied, synack, unscaled};
use tcpwnd_common::{handshake_flags, proxy_flags, synack_flags};

/// The proxy announced another shift count than the socket uses, or seems to have.
pub(super) fn of_scale() -> Vec<Near> {
    let announced = |change: &dyn Fn(&mut HandshakeRecord)| {
        let mut record = proxied(Some(3), 7);
        change(&mut record);
        alone(record)
    };
    let like = Cause::SynproxyWscale;
    let unverified = |what, case, cause| Near {
        called: Verdict::Unverified(cause),
        ..near(like, what, case, like)
    };
    let mut beside = healthy();
    beside.proxy = proxied(Some(3), 7).proxy;
    vec![
        sound(
            like,
            "the rule has the sockets' own",
            alone(proxied(Some(7), 7)),
        ),
        sound(
            like,
            "the proxy is not in the way of this one",
            alone(beside),
        ),
        near(
            like,
            "the stack did not keep to its own SYN+ACK either",
            announced(&|r| {
                let flags = synack_flags::PROXIED | synack_flags::COOKIE;
                r.handshake.first = synack(Some(1), flags);
                r.handshake.flags |= handshake_flags::COOKIE_ACCEPTED;
            }),
            Cause::Unknown,
        ),
        near(
            like,
            "the ACK came to the proxy without timestamps",
            announced(&stripped),
            Cause::CookieTimestampsMissing,
        ),
        unverified(
            "the rule was another one when the SYN came again",
            announced(&|r| r.proxy.flags |= proxy_flags::DIFFER),
            UnverifiedCause::TwoSynacks,
        ),
        unverified(
            "it announced that to an earlier connection",
            announced(&|r| r.proxy.isn -= 1),
            UnverifiedCause::Synproxy,
        ),
    ]
}

/// There is no scaling, and a proxy.
pub(super) fn of_loss() -> Vec<Near> {
    let like = Lost::SynproxyWithoutScale.name();
    let none = |change: &dyn Fn(&mut HandshakeRecord)| {
        let mut record = proxied(None, 7);
        record.proxy.options = options(None, None);
        stripped(&mut record);
        change(&mut record);
        alone(record)
    };
    vec![
        Near {
            like,
            what: "the proxy is not in the way of this one, which offered none",
            case: none(&|r| {
                r.handshake.first.flags &= !synack_flags::PROXIED;
                r.handshake.syn_ack = 0;
            }),
            called: Verdict::ScaleLost(Lost::PeerDidNotOffer),
        },
        Near {
            like,
            what: "it announced none, and the socket scales",
            case: none(&|r| {
                *r = HandshakeRecord {
                    proxy: r.proxy,
                    ..proxied(Some(7), 7)
                };
            }),
            called: Verdict::Mismatch(Cause::Unknown),
        },
        Near {
            like,
            what: "it announced one, and scaling is off here",
            case: none(&|r| {
                r.proxy = proxied(Some(7), 7).proxy;
                r.handshake.syn = options(Some(9), Some((77, PROXY_TSVAL)));
            }),
            called: Verdict::Mismatch(Cause::Unknown),
        },
        Near {
            like,
            what: "what it announced was not seen",
            case: none(&|r| r.proxy.ktime_ns = 0),
            called: Verdict::Unverified(UnverifiedCause::Synproxy),
        },
    ]
}

/// What the proxy makes of an ACK without options, and the stack of its SYN.
fn stripped(record: &mut HandshakeRecord) {
    record.handshake.first = synack(None, synack_flags::PROXIED);
    record.handshake.syn = options(None, None);
    unscaled(record);
}
