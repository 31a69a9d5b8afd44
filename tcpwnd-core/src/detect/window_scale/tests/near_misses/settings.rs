//! What looks like a changed setting, or like SO_RCVBUF ignored.

use super::*;

pub(super) fn of_settings() -> Vec<Near> {
    let rmem = |tcp_rmem_max| Inputs {
        tcp_rmem_max,
        ..plain()
    };
    let both = || with_rmem_max(case(plain(), FREE, rmem(32 << 20), RAISED), 32 << 20);
    let buffer = Inputs {
        rcvbuf: 409_600,
        ..kafka()
    };
    let rmem_and_buffer = Inputs {
        tcp_rmem_max: 32 << 20,
        ..buffer
    };
    vec![
        near(
            Cause::TcpRmemChanged,
            "rmem_max was raised to as much",
            with_rmem_max(case(plain(), FREE, plain(), RAISED), 32 << 20),
            Cause::RmemMaxChanged,
        ),
        near(Cause::TcpRmemChanged, "both were", both(), Cause::Unknown),
        sound(
            Cause::TcpRmemChanged,
            "to the same power of two",
            case(plain(), FREE, rmem(7 << 20), FREE),
        ),
        near(
            Cause::TcpRmemChanged,
            "SO_RCVBUF, which limits the window, was raised as well",
            case(kafka(), KAFKA, rmem_and_buffer, limited(204_800)),
            Cause::RcvbufChanged,
        ),
        near(
            Cause::RmemMaxChanged,
            "tcp_rmem was raised to as much",
            case(plain(), FREE, rmem(32 << 20), RAISED),
            Cause::TcpRmemChanged,
        ),
        near(Cause::RmemMaxChanged, "both were", both(), Cause::Unknown),
        sound(
            Cause::RmemMaxChanged,
            "to less than tcp_rmem",
            with_rmem_max(case(plain(), FREE, plain(), FREE), 4 << 20),
        ),
        near(
            Cause::RmemMaxChanged,
            "SO_RCVBUF, which limits the window, was raised as well",
            with_rmem_max(case(kafka(), KAFKA, buffer, limited(204_800)), 32 << 20),
            Cause::RcvbufChanged,
        ),
    ]
}

pub(super) fn of_adv_win_scale() -> Vec<Near> {
    let like = Cause::AdvWinScaleChanged;
    let quarter = |inputs| Inputs {
        adv_win_scale: -2,
        ..inputs
    };
    let half = Inputs {
        rcvbuf: 102_400,
        ..kafka()
    };
    let routed = Inputs {
        route_window: 51_200,
        ..plain()
    };
    let narrower = Inputs {
        scaling_ratio: 64,
        ..scaled(kafka())
    };
    vec![
        near(
            like,
            "SO_RCVBUF was lowered to as much",
            case(kafka(), KAFKA, half, limited(51_200)),
            Cause::RcvbufChanged,
        ),
        near(
            like,
            "both were",
            case(kafka(), KAFKA, quarter(half), limited(25_600)),
            Cause::Unknown,
        ),
        near(
            like,
            "no SO_RCVBUF for it to scale, but a route's window",
            case(plain(), FREE, quarter(routed), limited(51_200)),
            Cause::RouteWindowChanged,
        ),
        near(
            like,
            "a scaling_ratio, which nobody sets",
            case(scaled(kafka()), KAFKA, narrower, limited(51_200)),
            Cause::Unknown,
        ),
        sound(
            like,
            "no SO_RCVBUF",
            case(plain(), FREE, quarter(plain()), FREE),
        ),
    ]
}

/// All that lead from 1 to 7, as an ignored SO_RCVBUF does.
pub(super) fn of_ignored_rcvbuf() -> Vec<Near> {
    let like = Cause::CookieIgnoredRcvbuf;
    let larger = Inputs {
        rcvbuf: 8 << 20,
        ..kafka()
    };
    let other = Inputs {
        listener: 8,
        ..plain()
    };
    let clamped = Inputs {
        window_clamp: 102_400,
        ..plain()
    };
    let routed = Inputs {
        route_window: 102_400,
        ..plain()
    };
    vec![
        near(
            like,
            "SO_RCVBUF was raised, and heeded",
            case(kafka(), KAFKA, larger, (7, 4 << 20)),
            Cause::RcvbufChanged,
        ),
        near(
            like,
            "the listener that took over has none",
            case(kafka(), KAFKA, other, FREE),
            Cause::ListenerChanged,
        ),
        near(
            like,
            "it was a window clamp of the same size, which was lifted",
            case(clamped, KAFKA, plain(), FREE),
            Cause::WindowClampChanged,
        ),
        near(
            like,
            "it was the route's window",
            case(routed, KAFKA, plain(), FREE),
            Cause::RouteWindowChanged,
        ),
        sound(
            like,
            "it was ignored, and tcp_rmem is no larger",
            case(larger, (7, 4 << 20), larger, FREE),
        ),
    ]
}
