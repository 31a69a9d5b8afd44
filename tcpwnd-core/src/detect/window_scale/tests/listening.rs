//! What listeners announce, against values that kernels came to.

use crate::detect::window_scale::{Listening, Share};

fn kafka() -> Listening {
    Listening {
        rcvbuf: 204_800,
        rcvbuf_set: true,
        tcp_rmem_max: 6 << 20,
        rmem_max: 212_992,
        share: Share::Half,
    }
}

fn scales(listening: Listening) -> (u8, u8) {
    (listening.announced(), listening.ignoring_rcvbuf())
}

#[test]
fn kafkas_buffer_comes_to_1_and_ignored_to_7() {
    assert_eq!(scales(kafka()), (1, 7));
    let older = Listening {
        share: Share::AdvWinScale(1),
        ..kafka()
    };
    assert_eq!(scales(older), (1, 7));
    // A quarter of the buffer.
    let quarter = Listening {
        share: Share::AdvWinScale(-2),
        ..kafka()
    };
    assert_eq!(scales(quarter), (0, 7));
}

#[test]
fn where_nothing_is_set_nothing_can_be_ignored() {
    let plain = Listening {
        rcvbuf_set: false,
        ..kafka()
    };
    assert_eq!(scales(plain), (7, 7));
    let larger = Listening {
        rmem_max: 64 << 20,
        ..plain
    };
    assert_eq!(scales(larger), (11, 11));
}

#[test]
fn a_buffer_as_large_as_the_settings_makes_no_difference() {
    let large = Listening {
        rcvbuf: 12 << 20,
        ..kafka()
    };
    assert_eq!(scales(large), (7, 7));
}
