//! Why a cookie's shift count was recomputed to another value: settings, and what becomes of more
//! than one change.

use super::cases::{Case, Computed, FREE, KAFKA, RMEM_MAX, case, kafka, line, plain, scaled};
use super::*;
use crate::detect::window_scale::changes::{Change, changes};
use crate::detect::window_scale::initial::Basis;
use crate::fixture::Random;
use tcpwnd_common::Inputs;

/// One input that is changed, what the kernel comes to then, and what it is called.
fn of_one_input() -> [(Inputs, Computed, MismatchCause); 6] {
    [
        (
            Inputs {
                tcp_rmem_max: 32 << 20,
                ..plain()
            },
            (10, 65_535 << 10),
            MismatchCause::TcpRmemChanged,
        ),
        (
            Inputs {
                tcp_rmem_max: 131_072,
                ..plain()
            },
            (2, 65_535 << 2),
            MismatchCause::TcpRmemChanged,
        ),
        (
            Inputs {
                window_clamp: 65_535,
                ..plain()
            },
            (0, 65_535),
            MismatchCause::WindowClampChanged,
        ),
        (
            Inputs {
                route_window: 65_535,
                ..plain()
            },
            (0, 65_535),
            MismatchCause::RouteWindowChanged,
        ),
        (
            Inputs {
                rcvlowat: 1 << 20,
                rcvbuf: 2 << 20,
                window_clamp: 1 << 20,
                ..plain()
            },
            (5, 1 << 20),
            MismatchCause::RcvlowatChanged,
        ),
        (
            Inputs {
                listener: 8,
                ..kafka()
            },
            KAFKA,
            MismatchCause::ListenerChanged,
        ),
    ]
}

#[test]
fn one_input_that_was_changed() {
    for (now, in_use, cause) in of_one_input() {
        assert_eq!(case(plain(), FREE, now, in_use).cause(), cause);
        // And back. Neither SO_RCVLOWAT lowers a buffer again, nor is another listener's known
        // apart from it.
        if cause != MismatchCause::RcvlowatChanged {
            assert_eq!(case(now, in_use, plain(), FREE).cause(), cause);
        }
    }
}

#[test]
fn near_misses_of_one_changed_input() {
    for (now, in_use, cause) in of_one_input() {
        // It was changed, and the socket came to something else.
        let (shift, clamp) = in_use;
        let elsewhere = case(plain(), FREE, now, (shift + 1, clamp));
        assert_eq!(elsewhere.cause(), MismatchCause::Unknown, "{cause}");
        // The SYN+ACK cannot have come of what is said of it.
        let not_from = case(plain(), (8, 65_535 << 8), now, in_use);
        assert_eq!(not_from.cause(), MismatchCause::Unknown, "{cause}");
        // Another one was changed as well, which leads there by itself.
        if in_use.0 == 0 {
            let both = Inputs {
                route_window: 65_535,
                window_clamp: 65_535,
                ..plain()
            };
            let two = case(plain(), FREE, both, in_use);
            assert_eq!(two.cause(), MismatchCause::Unknown, "{cause}");
        }
        // The inputs are of another SYN+ACK than the one that was answered.
        let other = case(plain(), FREE, now, in_use).with(|case| {
            let handshake = &mut case.record.handshake;
            handshake.last = handshake.first;
            handshake.first.isn -= 1;
            handshake.flags |= tcpwnd_common::handshake_flags::PREVIOUS_KEPT;
        });
        assert_eq!(other, MismatchCause::Unknown, "{cause}");
    }
}

#[test]
fn the_scale_of_receive_buffers() {
    let quarter = Inputs {
        adv_win_scale: -2,
        ..kafka()
    };
    let of_kafka = case(kafka(), KAFKA, quarter, (0, 51_200));
    assert_eq!(of_kafka.cause(), MismatchCause::AdvWinScaleChanged);
    // Without a buffer that was set it has no effect.
    let plain_quarter = Inputs {
        adv_win_scale: -2,
        ..plain()
    };
    let no_effect = case(plain(), FREE, plain_quarter, (0, 51_200));
    assert_eq!(no_effect.cause(), MismatchCause::Unknown);
    // A socket's own ratio is set by nobody.
    let narrower = Inputs {
        scaling_ratio: 64,
        ..scaled(kafka())
    };
    let ratio = case(scaled(kafka()), KAFKA, narrower, (0, 51_200));
    assert_eq!(ratio.cause(), MismatchCause::Unknown);
    // Another buffer leads there as well.
    let both = Inputs {
        adv_win_scale: -2,
        rcvbuf: 204_799,
        ..kafka()
    };
    let smaller = case(kafka(), KAFKA, both, (0, 51_199));
    assert_eq!(smaller.cause(), MismatchCause::AdvWinScaleChanged);
}

#[test]
fn near_misses_of_rcvlowat() {
    let (made, in_use, _) = of_one_input()[4];
    // Its present value is not what made the buffer.
    let lowered_again = Inputs {
        rcvlowat: 1,
        ..made
    };
    let unknown = case(plain(), FREE, lowered_again, in_use);
    assert_eq!(unknown.cause(), MismatchCause::Unknown);
    // The clamp is not what it makes of it.
    let clamped = Inputs {
        window_clamp: (1 << 20) + 1,
        ..made
    };
    let two = case(plain(), FREE, clamped, (5, (1 << 20) + 1));
    assert_eq!(two.cause(), MismatchCause::Unknown);
    // From 6.6 on it sets a clamp only where there is one, or, in some, always.
    let newer = Inputs {
        scaling_ratio: 128,
        adv_win_scale: 0,
        ..made
    };
    let maybe = case(scaled(plain()), FREE, newer, in_use);
    assert_eq!(maybe.cause(), MismatchCause::Unknown);
    // With SO_RCVBUF it changes nothing.
    let locked = Inputs {
        userlocks: 2,
        ..made
    };
    let buffer = case(plain(), FREE, locked, in_use);
    assert_eq!(buffer.cause(), MismatchCause::Unknown);
}

#[test]
fn inputs_that_differ_are_named_with_both_values() {
    let (now, in_use, _) = of_one_input()[0];
    let Case { record, context } = case(plain(), FREE, now, in_use);
    assert_eq!(
        judge(&record, &context).inputs,
        [ChangedInput {
            input: Input::TcpRmemMax,
            synack: 6 << 20,
            ack: 32 << 20,
        }]
    );
    assert_eq!(judge(&line().record, &line().context).inputs, []);
}

/// Whatever is changed, and how much of it at once, a cause that is named leads to what is used,
/// and no other change does.
#[test]
fn no_cause_is_named_beside_another_that_would_do() {
    let mut random = Random(0x5eed);
    let mut named = 0;
    for _ in 0..20_000 {
        let mut pick = |values: &[u32]| values[random.next() as usize % values.len()];
        let mut basis = |ignores_rcvbuf| Basis {
            inputs: Inputs {
                rcvbuf: pick(&[131_072, 204_800, 8 << 20]),
                userlocks: pick(&[0, 2]) as u8,
                window_clamp: pick(&[0, 0, 65_535, 102_400]),
                route_window: pick(&[0, 0, 65_535]),
                tcp_rmem_max: pick(&[6 << 20, 6 << 20, 32 << 20]),
                listener: pick(&[7, 7, 7, 8]).into(),
                ..plain()
            },
            rmem_max: RMEM_MAX,
            mss: pick(&[1_448, 1_460]),
            ignores_rcvbuf,
        };
        let (then, mut now) = (basis(false), basis(false));
        now.ignores_rcvbuf = now.inputs.userlocks != 0 && random.next().is_multiple_of(2);
        let (announced, in_use) = (then.compute(), now.compute());
        if announced.shift == in_use.shift {
            continue;
        }
        let mut case = case(
            then.inputs,
            (announced.shift, announced.window_clamp),
            now.inputs,
            (in_use.shift, in_use.window_clamp),
        );
        case.record.child.mss_clamp = now.mss as u16;
        let cause = case.cause();
        if cause == MismatchCause::Unknown {
            continue;
        }
        named += 1;
        let mut then = then;
        then.mss = 1_448;
        let leads_there = changes(&then, &now, false)
            .into_iter()
            .filter(|change| change.apply(&then, &now).compute().shift == in_use.shift)
            .map(Change::cause)
            .collect::<Vec<_>>();
        assert_eq!(leads_there, [Some(cause)], "{then:?} {now:?}");
    }
    assert!(named > 1_000, "{named}");
}
