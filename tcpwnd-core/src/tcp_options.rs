//! Parser of the option area of a TCP header (RFC 9293, section 3.1).
//!
//! Constraint: total. Whatever the bytes are, there is a result; what follows a malformed option
//! is left alone, as the kernel leaves it (`tcp_parse_options`, net/ipv4/tcp_input.c), and the
//! result says so.

/// Largest shift count that is used (RFC 7323, section 2.3).
pub const MAX_SHIFT: u8 = 14;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;
const MD5: u8 = 19;
const AUTHENTICATION: u8 = 29;
const FAST_OPEN: u8 = 34;
/// RFC 6994: shared by experiments, told apart by their identifier.
const EXPERIMENT: u8 = 254;
/// Identifier of Fast Open among the experiments (RFC 7413, section 4.1.1).
const FAST_OPEN_EXPERIMENT: [u8; 2] = [0xf9, 0x89];

/// The window scale option (RFC 7323, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowScale {
    /// The shift count as it was sent.
    pub raw: u8,
}

impl WindowScale {
    /// The shift count to use: at most 14, whatever was sent (RFC 7323, section 2.3).
    #[must_use]
    pub fn shift(self) -> u8 {
        self.raw.min(MAX_SHIFT)
    }
}

/// The timestamps option (RFC 7323, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub tsval: u32,
    /// TSecr: the clock of the other side, echoed.
    pub tsecr: u32,
}

/// The options that matter here; the last one counts where one is repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size, bytes.
    pub mss: Option<u16>,
    /// Window scale.
    pub window_scale: Option<WindowScale>,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Selective acknowledgements permitted (RFC 2018).
    pub sack_permitted: bool,
    /// MD5 signature (RFC 2385).
    pub md5: bool,
    /// TCP authentication option (RFC 5925).
    pub authentication: bool,
    /// Fast Open, with or without a cookie (RFC 7413).
    pub fast_open: bool,
    /// An option had an impossible length: what followed was not read, or it was left out.
    pub malformed: bool,
}

impl Options {
    /// Shift count in use if this segment's window scale counts; `None` without the option.
    #[must_use]
    pub fn shift(&self) -> Option<u8> {
        self.window_scale.map(WindowScale::shift)
    }
}

/// Parses an option area.
#[must_use]
pub fn parse(mut bytes: &[u8]) -> Options {
    let mut options = Options::default();
    loop {
        match bytes {
            [] | [END, ..] => return options,
            [NO_OPERATION, rest @ ..] => bytes = rest,
            [kind, len, ..] if *len >= 2 && usize::from(*len) <= bytes.len() => {
                let (option, rest) = bytes.split_at(usize::from(*len));
                take(&mut options, *kind, &option[2..]);
                bytes = rest;
            }
            _ => {
                options.malformed = true;
                return options;
            }
        }
    }
}

/// Takes in one option without its kind and length.
fn take(options: &mut Options, kind: u8, value: &[u8]) {
    match (kind, value) {
        (MSS, &[a, b]) => options.mss = Some(u16::from_be_bytes([a, b])),
        (WINDOW_SCALE, &[raw]) => options.window_scale = Some(WindowScale { raw }),
        (SACK_PERMITTED, []) => options.sack_permitted = true,
        (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
            options.timestamps = Some(Timestamps {
                tsval: u32::from_be_bytes([a, b, c, d]),
                tsecr: u32::from_be_bytes([e, f, g, h]),
            });
        }
        (MD5, [..]) if value.len() == 16 => options.md5 = true,
        (AUTHENTICATION, [_, _, ..]) => options.authentication = true,
        (FAST_OPEN, _) => options.fast_open = true,
        (EXPERIMENT, [a, b, ..]) if [*a, *b] == FAST_OPEN_EXPERIMENT => options.fast_open = true,
        (MSS | WINDOW_SCALE | SACK_PERMITTED | TIMESTAMPS | MD5 | AUTHENTICATION, _) => {
            options.malformed = true;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linux_syn_ack() {
        // mss 1460, sackOK, TS val 1 ecr 2, nop, wscale 7
        let options = parse(&[
            2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7,
        ]);
        assert_eq!(
            options,
            Options {
                mss: Some(1460),
                window_scale: Some(WindowScale { raw: 7 }),
                timestamps: Some(Timestamps { tsval: 1, tsecr: 2 }),
                sack_permitted: true,
                ..Options::default()
            }
        );
    }

    #[test]
    fn nothing_and_padding() {
        assert_eq!(parse(&[]), Options::default());
        assert_eq!(parse(&[1, 1, 1, 0]), Options::default());
        // What follows the end of the list is not an option.
        assert_eq!(parse(&[0, 3, 3, 7]), Options::default());
    }

    #[test]
    fn a_shift_count_above_14_is_used_as_14() {
        let scale = parse(&[3, 3, 15]).window_scale.unwrap();
        assert_eq!((scale.raw, scale.shift()), (15, 14));
        assert_eq!(parse(&[3, 3, 255]).shift(), Some(14));
        assert_eq!(parse(&[3, 3, 14]).shift(), Some(14));
        assert_eq!(parse(&[3, 3, 0]).shift(), Some(0));
    }

    #[test]
    fn the_last_of_two_counts() {
        assert_eq!(parse(&[3, 3, 2, 3, 3, 9]).shift(), Some(9));
    }

    #[test]
    fn what_precedes_a_malformed_option_is_kept() {
        for tail in [&[8, 10, 0][..], &[8, 1], &[8, 0], &[8], &[5, 255]] {
            let mut bytes = vec![3, 3, 5];
            bytes.extend_from_slice(tail);
            let options = parse(&bytes);
            assert_eq!(options.shift(), Some(5), "{tail:?}");
            assert!(options.malformed, "{tail:?}");
            assert_eq!(options.timestamps, None, "{tail:?}");
        }
    }

    #[test]
    fn an_option_of_the_wrong_length_is_left_out_and_the_next_one_read() {
        let options = parse(&[3, 4, 7, 7, 2, 4, 1, 0]);
        assert_eq!(options.window_scale, None);
        assert_eq!(options.mss, Some(256));
        assert!(options.malformed);
    }

    #[test]
    fn signatures_and_fast_open() {
        let mut md5 = vec![19, 18];
        md5.extend([0; 16]);
        assert!(parse(&md5).md5);
        assert!(parse(&[29, 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).authentication);
        assert!(parse(&[34, 2]).fast_open);
        assert!(parse(&[254, 4, 0xf9, 0x89]).fast_open);
        assert!(!parse(&[254, 4, 0xf9, 0x88]).fast_open);
        assert!(!parse(&[253, 4, 0xf9, 0x89]).malformed);
    }

    /// A small generator, so that the test needs no dependency and repeats itself exactly.
    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x9e37_79b9_u32;
        for _ in 0..200_000 {
            let mut bytes = [0_u8; 40];
            for byte in &mut bytes {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                // Small numbers, so that kinds and lengths often make sense.
                *byte = (state >> 16) as u8 & if state & 1 == 0 { 0x1f } else { 0xff };
            }
            let _ = parse(&bytes[..(state % 41) as usize]);
        }
    }
}
