//! What looks like a change to the listener, to which listener it is, or to the route.

use super::*;

/// What is set on the listener.
pub(super) fn of_listener() -> Vec<Near> {
    let clamp = |window_clamp| Inputs {
        window_clamp,
        ..plain()
    };
    let route = |route_window| Inputs {
        route_window,
        ..plain()
    };
    let other = |inputs| Inputs {
        listener: 8,
        ..inputs
    };
    let lowat = Inputs {
        rcvlowat: 1 << 20,
        rcvbuf: 2 << 20,
        window_clamp: 1 << 20,
        ..plain()
    };
    let at = |now, bytes| case(plain(), FREE, now, limited(bytes));
    let both = Inputs {
        route_window: 65_535,
        ..clamp(65_535)
    };
    let small_buffer = Inputs {
        rcvbuf: 131_070,
        ..kafka()
    };
    let small_lowat = Inputs {
        rcvlowat: 1_000,
        ..clamp(1 << 20)
    };
    let lowered_again = Inputs {
        rcvlowat: 1,
        ..lowat
    };
    vec![
        near(
            Cause::RcvbufChanged,
            "a window clamp",
            at(clamp(102_400), 102_400),
            Cause::WindowClampChanged,
        ),
        near(
            Cause::RcvbufChanged,
            "a route's window",
            at(route(102_400), 102_400),
            Cause::RouteWindowChanged,
        ),
        near(
            Cause::RcvbufChanged,
            "another listener's",
            at(other(kafka()), 102_400),
            Cause::ListenerChanged,
        ),
        near(
            Cause::RcvbufChanged,
            "SO_RCVLOWAT's buffer",
            at(lowat, 1 << 20),
            Cause::RcvlowatChanged,
        ),
        near(
            Cause::WindowClampChanged,
            "a route's window",
            at(route(65_535), 65_535),
            Cause::RouteWindowChanged,
        ),
        near(
            Cause::WindowClampChanged,
            "and a route's window",
            at(both, 65_535),
            Cause::Unknown,
        ),
        near(
            Cause::WindowClampChanged,
            "another listener's",
            at(other(clamp(65_535)), 65_535),
            Cause::ListenerChanged,
        ),
        near(
            Cause::WindowClampChanged,
            "SO_RCVBUF",
            at(small_buffer, 65_535),
            Cause::RcvbufChanged,
        ),
        near(
            Cause::WindowClampChanged,
            "SO_RCVLOWAT's clamp",
            at(lowat, 1 << 20),
            Cause::RcvlowatChanged,
        ),
        near(
            Cause::RcvlowatChanged,
            "a clamp, SO_RCVLOWAT small",
            at(small_lowat, 1 << 20),
            Cause::WindowClampChanged,
        ),
        near(
            Cause::RcvlowatChanged,
            "a route's window",
            at(route(1 << 20), 1 << 20),
            Cause::RouteWindowChanged,
        ),
        near(
            Cause::RcvlowatChanged,
            "another listener's",
            at(other(lowat), 1 << 20),
            Cause::ListenerChanged,
        ),
        near(
            Cause::RcvlowatChanged,
            "lowered again",
            at(lowered_again, 1 << 20),
            Cause::Unknown,
        ),
    ]
}

/// Which listener, and which route.
pub(super) fn of_places() -> Vec<Near> {
    let clamp = |window_clamp| Inputs {
        window_clamp,
        ..plain()
    };
    let other = |inputs| Inputs {
        listener: 8,
        ..inputs
    };
    let raised = Inputs {
        tcp_rmem_max: 32 << 20,
        ..plain()
    };
    let other_and_rmem = Inputs {
        tcp_rmem_max: 1 << 20,
        ..other(clamp(1 << 20))
    };
    let both = Inputs {
        route_window: 65_535,
        ..clamp(65_535)
    };
    let behind = Inputs {
        route_window: 32_768,
        ..clamp(65_535)
    };
    vec![
        near(
            Cause::ListenerChanged,
            "the same one, with SO_RCVBUF set",
            case(plain(), FREE, kafka(), KAFKA),
            Cause::RcvbufChanged,
        ),
        near(
            Cause::ListenerChanged,
            "another one that is alike, and tcp_rmem was raised",
            case(plain(), FREE, other(raised), RAISED),
            Cause::TcpRmemChanged,
        ),
        near(
            Cause::ListenerChanged,
            "another one, and tcp_rmem was lowered to its clamp",
            case(plain(), FREE, other_and_rmem, limited(1 << 20)),
            Cause::Unknown,
        ),
        near(
            Cause::ListenerChanged,
            "another one with the same SO_RCVBUF, which is ignored",
            case(kafka(), KAFKA, other(kafka()), FREE),
            Cause::CookieIgnoredRcvbuf,
        ),
        sound(
            Cause::ListenerChanged,
            "another one that is alike",
            case(kafka(), KAFKA, other(kafka()), KAFKA),
        ),
        near(
            Cause::RouteWindowChanged,
            "a window clamp of the same size",
            case(plain(), FREE, clamp(65_535), limited(65_535)),
            Cause::WindowClampChanged,
        ),
        near(
            Cause::RouteWindowChanged,
            "and a window clamp of the same size",
            case(plain(), FREE, both, limited(65_535)),
            Cause::Unknown,
        ),
        near(
            Cause::RouteWindowChanged,
            "a window clamp, which goes before the route's window, was lowered",
            case(clamp(1 << 20), limited(1 << 20), behind, limited(65_535)),
            Cause::WindowClampChanged,
        ),
    ]
}
