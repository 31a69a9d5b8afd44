//! The kernel's formula against values that kernels came to, and at its edges.

use crate::detect::window_scale::initial::{Basis, Initial, window_of_space};
use crate::fixture::inputs;
use tcpwnd_common::Inputs;

fn basis() -> Basis {
    Basis {
        inputs: Inputs {
            rcvbuf: 131_072,
            userlocks: 0,
            window_clamp: 0,
            route_window: 0,
            scaling_ratio: 0,
            tcp_rmem_max: 6 << 20,
            ..inputs()
        },
        rmem_max: 212_992,
        mss: 1_448,
        ignores_rcvbuf: false,
    }
}

fn computed(change: impl FnOnce(&mut Basis)) -> (u8, u32) {
    let mut basis = basis();
    change(&mut basis);
    let Initial {
        shift,
        window_clamp,
    } = basis.compute();
    (shift, window_clamp)
}

/// Provoked on 5.10, 6.1, 6.12, 6.18 and 7.3.
#[test]
fn values_that_kernels_came_to() {
    assert_eq!(computed(|_| {}), (7, 8_388_480));
    let kafka = |basis: &mut Basis| {
        basis.inputs.rcvbuf = 204_800;
        basis.inputs.userlocks = 2;
    };
    assert_eq!(computed(kafka), (1, 102_400));
    let ignored = |basis: &mut Basis| {
        kafka(basis);
        basis.ignores_rcvbuf = true;
    };
    assert_eq!(computed(ignored).0, 7);
    assert_eq!(computed(|b| b.inputs.tcp_rmem_max = 32 << 20).0, 10);
    assert_eq!(computed(|b| b.rmem_max = 64 << 20).0, 11);
    assert_eq!(computed(|b| b.inputs.route_window = 65_535).0, 0);
    assert_eq!(computed(|b| b.inputs.window_clamp = 65_535).0, 0);
}

#[test]
fn the_sockets_clamp_goes_before_the_routes() {
    let both = |b: &mut Basis| {
        b.inputs.window_clamp = 1 << 20;
        b.inputs.route_window = 65_535;
    };
    assert_eq!(computed(both), (5, 1 << 20));
}

#[test]
fn a_receive_buffer_limits_only_what_is_larger() {
    let smaller_clamp = |b: &mut Basis| {
        b.inputs.userlocks = 2;
        b.inputs.window_clamp = 60_000;
    };
    assert_eq!(computed(smaller_clamp), (0, 60_000));
    // Bit 1 is SO_SNDBUF's.
    assert_eq!(computed(|b| b.inputs.userlocks = 1).0, 7);
}

#[test]
fn the_space_is_rounded_to_segments_before_the_settings_count() {
    let large = |b: &mut Basis| b.inputs.rcvbuf = 32 << 20;
    // 16 MB are no multiple of 1,448.
    assert_eq!(computed(large).0, 8);
    let whole = |b: &mut Basis| {
        large(b);
        b.mss = 1_024;
    };
    assert_eq!(computed(whole).0, 9);
    let unlimited = |b: &mut Basis| {
        large(b);
        b.mss = 0;
    };
    assert_eq!(computed(unlimited).0, 9);
}

#[test]
fn shift_counts_stay_between_0_and_14() {
    let nothing = |b: &mut Basis| {
        b.inputs.rcvbuf = 0;
        b.inputs.tcp_rmem_max = 0;
        b.rmem_max = 0;
    };
    assert_eq!(computed(nothing).0, 0);
    let everything = |b: &mut Basis| {
        b.rmem_max = u32::MAX;
        b.inputs.window_clamp = u32::MAX;
    };
    assert_eq!(computed(everything), (14, 65_535 << 14));
}

/// `tcp_win_from_space` of 6.1 and of 6.12.
#[test]
fn the_part_of_a_buffer_that_becomes_window() {
    let by = |adv_win_scale, scaling_ratio| {
        let inputs = Inputs {
            adv_win_scale,
            scaling_ratio,
            ..inputs()
        };
        [0, 1, 204_800, i32::MAX as u32].map(|space| window_of_space(&inputs, space))
    };
    assert_eq!(by(1, 0), [0, 1, 102_400, 1 << 30]);
    assert_eq!(by(2, 0), [0, 1, 153_600, 1_610_612_736]);
    assert_eq!(by(0, 0), [0, 1, 204_800, i32::MAX as u32]);
    assert_eq!(by(-2, 0), [0, 0, 51_200, 536_870_911]);
    assert_eq!(by(31, 0), [0, 1, 204_800, i32::MAX as u32]);
    // Where there is a ratio the sysctl has no effect.
    assert_eq!(by(-2, 128), [0, 0, 102_400, 1_073_741_823]);
    assert_eq!(by(1, 255)[2], 204_000);
}
