use super::*;
use crate::fixture::{
    PROXY_ISN, Plain, Random, bytes_of, closed, cookie, from_bytes, healthy, opened, proxied,
    window,
};
use core::mem::offset_of;
use tcpwnd_common::{Ack, Child, Connect, Handshake, ProxySynAck, SynAck, TcpOptions};

/// Where the length of an option area stands in a handshake record.
fn option_lengths() -> [usize; 5] {
    let handshake = offset_of!(HandshakeRecord, handshake);
    let synack = offset_of!(SynAck, options) + offset_of!(TcpOptions, len);
    [
        handshake + offset_of!(Handshake, first) + synack,
        handshake + offset_of!(Handshake, last) + synack,
        handshake + offset_of!(Handshake, syn) + offset_of!(TcpOptions, len),
        handshake
            + offset_of!(Handshake, ack)
            + offset_of!(Ack, options)
            + offset_of!(TcpOptions, len),
        offset_of!(HandshakeRecord, proxy)
            + offset_of!(ProxySynAck, options)
            + offset_of!(TcpOptions, len),
    ]
}

fn outcome_at() -> usize {
    offset_of!(HandshakeRecord, child) + offset_of!(Child, outcome)
}

/// Random bytes behind a right header, which make a right record.
fn random<T: Plain>(random: &mut Random, kind: Kind) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<T>()];
    random.fill(&mut bytes);
    bytes[0..2].copy_from_slice(&ABI_VERSION.to_ne_bytes());
    bytes[2..4].copy_from_slice(&(kind as u16).to_ne_bytes());
    bytes[4..8].copy_from_slice(&(size_of::<T>() as u32).to_ne_bytes());
    if kind == Kind::Handshake {
        bytes[outcome_at()] = 1 + bytes[outcome_at()] % 3;
        for at in option_lengths() {
            bytes[at] %= 41;
        }
    }
    if kind == Kind::Connect {
        bytes[connect_options_at()] %= 41;
    }
    bytes
}

/// Where the length of the option area stands in a connect record.
fn connect_options_at() -> usize {
    offset_of!(ConnectRecord, connect) + offset_of!(Connect, options) + offset_of!(TcpOptions, len)
}

/// Every field at once: what is decoded equals what the memory of the record says. Two fields
/// that are swapped, or one that is read beside its place, differ in random bytes.
#[test]
fn decoded_fields_equal_the_memory_of_the_record() {
    let mut numbers = Random(1);
    for _ in 0..500 {
        let bytes = random::<HandshakeRecord>(&mut numbers, Kind::Handshake);
        let expected: HandshakeRecord = from_bytes(&bytes);
        let Ok(Record::Handshake(record, outcome)) = decode(&bytes) else {
            panic!("{:?}", decode(&bytes));
        };
        assert_eq!(*record, expected);
        assert_eq!(outcome as u8, expected.child.outcome);

        let bytes = random::<ConnectRecord>(&mut numbers, Kind::Connect);
        let expected = Record::Connect(Box::new(from_bytes(&bytes)));
        assert_eq!(decode(&bytes), Ok(expected));

        let bytes = random::<ClosedRecord>(&mut numbers, Kind::Closed);
        assert_eq!(decode(&bytes), Ok(Record::Closed(from_bytes(&bytes))));

        let bytes = random::<WindowRecord>(&mut numbers, Kind::Window);
        assert_eq!(decode(&bytes), Ok(Record::Window(from_bytes(&bytes))));

        let bytes = random::<ProgressRecord>(&mut numbers, Kind::Progress);
        assert_eq!(decode(&bytes), Ok(Record::Progress(from_bytes(&bytes))));
    }
}

/// The same with fields written by name, in case memory and decoder agree on a wrong layout.
#[test]
fn fields_written_by_name_come_out_under_their_name() {
    let mut sent = cookie(1, 7);
    sent.handshake.last = crate::fixture::synack(Some(3), 1);
    sent.handshake.last.isn = 5;
    let Ok(Record::Handshake(got, Outcome::Established)) = decode(&bytes_of(&sent)) else {
        panic!();
    };
    assert_eq!(got.handshake.first.rcv_wscale, 1);
    assert_eq!(got.handshake.first.snd_wscale, crate::fixture::OFFERED);
    assert_eq!(got.handshake.last.rcv_wscale, 3);
    assert_eq!(got.handshake.last.isn, 5);
    assert_eq!(got.child.rcv_wscale, 7);
    assert_eq!(got.child.mss_clamp, 1_448);
    assert_eq!(got.child.advmss, 1_436);
    assert_eq!(got.handshake.inputs.accept_queue_limit, 50);
    assert_eq!(got.flow.local_port, 9092);
    let sent = proxied(Some(3), 7);
    let Ok(Record::Handshake(got, Outcome::Established)) = decode(&bytes_of(&sent)) else {
        panic!();
    };
    assert_eq!(got.handshake.syn_ack, PROXY_ISN);
    assert_eq!(got.proxy.isn, PROXY_ISN);
    assert_eq!(got.proxy.wscale, 3);

    let sent = closed(&healthy());
    assert_eq!(decode(&bytes_of(&sent)), Ok(Record::Closed(sent)));
    let sent = window(&healthy(), 3, 1);
    assert_eq!(decode(&bytes_of(&sent)), Ok(Record::Window(sent)));
}

#[test]
fn any_other_length_is_an_error() {
    let mut bytes = bytes_of(&healthy());
    bytes.extend([0; 64]);
    for len in 0..bytes.len() {
        let result = decode(&bytes[..len]);
        if len == size_of::<HandshakeRecord>() {
            assert!(result.is_ok());
        } else if len < size_of::<Header>() {
            assert_eq!(result, Err(DecodeError::Header { found: len }));
        } else {
            let error = result.unwrap_err();
            assert!(matches!(error, DecodeError::Length { found, .. } if found == len));
            assert_eq!(error.kind(), Some(Kind::Handshake));
        }
    }
}

#[test]
fn a_length_that_the_header_does_not_confirm_is_an_error() {
    let mut record = healthy();
    record.header.len += 1;
    assert!(matches!(
        decode(&bytes_of(&record)),
        Err(DecodeError::Length { claimed: 521, .. })
    ));
}

#[test]
fn another_version_kind_or_outcome_is_an_error() {
    let mut record = healthy();
    record.header.version = ABI_VERSION + 1;
    assert_eq!(
        decode(&bytes_of(&record)),
        Err(DecodeError::Version {
            found: ABI_VERSION + 1
        })
    );

    for kind in [0, 6, u16::MAX] {
        let mut record = healthy();
        record.header.kind = kind;
        assert_eq!(
            decode(&bytes_of(&record)),
            Err(DecodeError::Kind { found: kind })
        );
    }

    for outcome in [0, 4, u8::MAX] {
        let mut record = healthy();
        record.child.outcome = outcome;
        assert_eq!(
            decode(&bytes_of(&record)),
            Err(DecodeError::Outcome { found: outcome })
        );
    }
}

#[test]
fn more_options_than_a_header_has_are_an_error() {
    for at in option_lengths() {
        let mut bytes = bytes_of(&healthy());
        bytes[at] = 40;
        assert!(decode(&bytes).is_ok());
        bytes[at] = 41;
        assert!(matches!(
            decode(&bytes),
            Err(DecodeError::Options { found: 41, .. })
        ));
    }
    let mut bytes = bytes_of(&opened());
    bytes[connect_options_at()] = 41;
    assert_eq!(
        decode(&bytes).unwrap_err().to_string(),
        "record has 41 bytes of options in its SYN+ACK"
    );
}

#[test]
fn whatever_comes_nothing_panics() {
    let mut numbers = Random(7);
    for _ in 0..20_000 {
        let mut bytes = vec![0; (numbers.next() % 600) as usize];
        numbers.fill(&mut bytes);
        let _ = decode(&bytes);

        let mut bytes = random::<HandshakeRecord>(&mut numbers, Kind::Handshake);
        let at = (numbers.next() % bytes.len() as u64) as usize;
        bytes[at] = numbers.next() as u8;
        bytes.truncate((numbers.next() % 600) as usize);
        let _ = decode(&bytes);
    }
}

#[test]
fn errors_name_what_was_wrong() {
    assert_eq!(
        decode(&[]).unwrap_err().to_string(),
        "record of 0 bytes is shorter than its header"
    );
    assert_eq!(
        decode(&bytes_of(&healthy())[..100])
            .unwrap_err()
            .to_string(),
        "Handshake record of 100 bytes claims 520, expected 520"
    );
}
