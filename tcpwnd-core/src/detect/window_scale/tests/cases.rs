//! Cookies with their inputs at both moments. What they come to is what the kernels came to in the
//! laboratory, or follows by hand from the kernel's source.

use super::*;
use crate::fixture::{RTT_NS, SYNACK_AT, cookie, inputs};
use tcpwnd_common::Inputs;

/// A shift count and the window clamp beside it.
pub(super) type Computed = (u8, u32);

/// Nothing limits the window: by `tcp_rmem[2]` of 6 MB.
pub(super) const FREE: Computed = (7, 65_535 << 7);
/// A receive buffer of 204,800 bytes was set: Kafka's default.
pub(super) const KAFKA: Computed = (1, 102_400);

pub(super) const RMEM_MAX: u32 = 212_992;

/// The inputs of a listener of 5.10 or 6.1 on which nothing was set.
pub(super) fn plain() -> Inputs {
    Inputs {
        rcvbuf: 131_072,
        userlocks: 0,
        window_clamp: 0,
        route_window: 0,
        scaling_ratio: 0,
        ..inputs()
    }
}

/// The same with `socket.receive.buffer.bytes` of 102,400.
pub(super) fn kafka() -> Inputs {
    Inputs {
        rcvbuf: 204_800,
        userlocks: 2,
        ..plain()
    }
}

/// The same from 6.6 on.
pub(super) fn scaled(inputs: Inputs) -> Inputs {
    Inputs {
        scaling_ratio: 128,
        adv_win_scale: 0,
        ..inputs
    }
}

/// A record, and what is known beside it.
pub(super) struct Case {
    pub record: HandshakeRecord,
    pub context: Context,
}

/// A cookie with these inputs and results at both moments.
pub(super) fn case(then: Inputs, announced: Computed, now: Inputs, in_use: Computed) -> Case {
    let mut record = cookie(announced.0, in_use.0);
    record.handshake.inputs = then;
    record.handshake.first.window_clamp = announced.1;
    record.handshake.cookie_inputs = now;
    record.handshake.cookie_window_clamp = in_use.1;
    let mut context = Context {
        watching_since_ktime_ns: SINCE,
        ..Context::default()
    };
    for ktime_ns in [SINCE, SYNACK_AT + RTT_NS] {
        context.rmem_max.add(RmemMax {
            ktime_ns,
            bytes: RMEM_MAX,
        });
    }
    Case { record, context }
}

impl Case {
    pub fn cause(&self) -> MismatchCause {
        match judge(&self.record, &self.context).verdict {
            Verdict::Mismatch(cause) => cause,
            other => panic!("{other:?}"),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> MismatchCause {
        change(&mut self);
        self.cause()
    }
}

/// LINE's case: the receive buffer was set, and the cookie path ignored it.
pub(super) fn line() -> Case {
    case(kafka(), KAFKA, kafka(), FREE)
}
