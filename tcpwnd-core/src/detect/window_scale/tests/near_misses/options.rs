//! What looks like options that went missing, or were never there.

use super::*;
use crate::detect::window_scale::tests::cookie_options::{SIGNATURE, bare_record};
use crate::detect::window_scale::tests::lost::{bare_cookie, lost};
use crate::fixture::{ABSENT, TSVAL, ack_options, healthy, options, raw};
use tcpwnd_common::synack_flags;

/// A cookie whose socket has no options.
pub(super) fn of_options() -> Vec<Near> {
    let bare = |change: &dyn Fn(&mut HandshakeRecord)| alone(bare_record(change));
    let stripped = |r: &mut HandshakeRecord| r.handshake.ack.options = ack_options(None);
    let off = |r: &mut HandshakeRecord| r.handshake.cookie_inputs.sysctl_timestamps = 0;
    let signed = |kind: u8, len: u8| {
        move |r: &mut HandshakeRecord| {
            let mut signature = vec![0; len.into()];
            signature[..2].copy_from_slice(&[kind, len]);
            r.handshake.ack.options = raw(&signature);
            let scale = [2, 4, 0x05, 0xb4, 1, 3, 3, 7];
            r.handshake.first.options = raw(&[&scale[..], &signature[..]].concat());
        }
    };
    let (authentication, md5) = (signed(29, 16), signed(19, 18));
    let mut normal = healthy();
    stripped(&mut normal);
    let mut switched_off = healthy();
    switched_off.child.sysctl_timestamps = 0;
    let mut normal_signed = healthy();
    authentication(&mut normal_signed);
    let missing = Cause::CookieTimestampsMissing;
    let disabled = Cause::TimestampsDisabled;
    let both = bare(&|r| {
        stripped(r);
        off(r);
    });
    let again = bare(&|r| {
        stripped(r);
        off(r);
    });
    let half_signed = bare(&|r| r.handshake.ack.options = raw(&SIGNATURE));
    vec![
        near(
            missing,
            "they came, and are switched off here",
            bare(&off),
            disabled,
        ),
        near(
            missing,
            "the SYN+ACK had none: TCP-AO",
            bare(&authentication),
            Cause::CookieTcpAo,
        ),
        near(
            missing,
            "they are switched off here as well",
            both,
            Cause::Unknown,
        ),
        sound(missing, "no cookie", alone(normal)),
        near(
            disabled,
            "they are on, and did not come",
            bare(&stripped),
            missing,
        ),
        near(disabled, "they did not come either", again, Cause::Unknown),
        near(
            disabled,
            "they are on, and came",
            bare(&|_| {}),
            Cause::Unknown,
        ),
        sound(disabled, "no cookie", alone(switched_off)),
        near(
            Cause::CookieTcpAo,
            "signed by MD5",
            bare(&md5),
            Cause::Unknown,
        ),
        near(
            Cause::CookieTcpAo,
            "only the ACK is signed",
            half_signed,
            Cause::Unknown,
        ),
        near(
            Cause::CookieTcpAo,
            "nothing is signed",
            bare(&stripped),
            missing,
        ),
        sound(Cause::CookieTcpAo, "no cookie", alone(normal_signed)),
    ]
}

/// Both sides without scaling.
pub(super) fn of_loss() -> Vec<Near> {
    let loss = |like: Lost,
                what,
                mut record: HandshakeRecord,
                change: fn(&mut HandshakeRecord),
                called| {
        change(&mut record);
        Near {
            like: like.name(),
            what,
            case: alone(record),
            called,
        }
    };
    let cookie = Lost::CookieWithoutTimestamps;
    let peer = Lost::PeerDidNotOffer;
    let here = Lost::DisabledHere;
    let lost_by = Verdict::ScaleLost;
    vec![
        loss(
            cookie,
            "no cookie",
            bare_cookie(),
            |r| {
                r.handshake.flags = 0;
                r.handshake.first.flags &= !synack_flags::COOKIE;
            },
            lost_by(Lost::Unknown),
        ),
        loss(
            cookie,
            "the SYN had no scale either",
            bare_cookie(),
            |r| {
                r.handshake.syn = options(None, None);
            },
            lost_by(peer),
        ),
        loss(
            cookie,
            "scaling is switched off here",
            bare_cookie(),
            |r| {
                r.handshake.inputs.sysctl_window_scaling = 0;
            },
            lost_by(here),
        ),
        loss(
            cookie,
            "the cookie has timestamps",
            bare_cookie(),
            |r| {
                r.handshake.first.options = options(None, Some((TSVAL, 77)));
            },
            lost_by(Lost::Unknown),
        ),
        loss(
            peer,
            "the SYN was not seen",
            lost(),
            |r| {
                r.handshake.syn = ABSENT;
            },
            lost_by(Lost::Unknown),
        ),
        loss(
            peer,
            "it offered a scale of 0",
            bare_cookie(),
            |r| {
                r.handshake.syn = options(Some(0), None);
            },
            lost_by(cookie),
        ),
        loss(
            peer,
            "scaling is switched off here",
            lost(),
            |r| {
                r.handshake.syn = options(None, None);
                r.handshake.inputs.sysctl_window_scaling = 0;
            },
            lost_by(here),
        ),
        loss(
            here,
            "only after the SYN+ACK",
            lost(),
            |r| {
                r.handshake.syn = options(None, None);
                r.child.sysctl_window_scaling = 0;
            },
            lost_by(peer),
        ),
        loss(
            here,
            "timestamps are switched off, not scaling",
            bare_cookie(),
            |r| {
                r.handshake.inputs.sysctl_timestamps = 0;
                r.child.sysctl_timestamps = 0;
            },
            lost_by(cookie),
        ),
        loss(
            here,
            "only after the SYN+ACK, which had a scale",
            healthy(),
            |r| {
                r.child.sysctl_window_scaling = 0;
            },
            Verdict::Ok,
        ),
    ]
}
