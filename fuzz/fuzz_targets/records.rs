//! Whatever bytes come out of the ring buffer, nothing panics and the books balance.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpwnd_common::{ABI_VERSION, Kind};
use tcpwnd_core::detect::window_scale::{Damage, RmemMax, Verdict};
use tcpwnd_core::{Engine, Finding, KernelTotals, Observation, Role, Settings};

const FLOW_LIMIT: usize = 3;
const LENGTHS: [(Kind, usize); 5] = [
    (Kind::Handshake, 520),
    (Kind::Closed, 88),
    (Kind::Window, 80),
    (Kind::Progress, 96),
    (Kind::Connect, 176),
];

fuzz_target!(|data: &[u8]| {
    let mut engine = Engine::new(Settings {
        watching_since_ktime_ns: 1 << 32,
        rcvbuf_sets_clamp: true,
        sees_synproxy: true,
        flow_limit: FLOW_LIMIT,
    })
    .with_filter(|flow| flow.remote().port() != 7)
    .with_ignored(|flow| flow.remote().port() % 2 == 1)
    .with_rmem_max(rmem_max(0), || rmem_max(u64::MAX));
    let mut handshakes = 0;
    let mut rest = data;
    while let Some((&choice, tail)) = rest.split_first() {
        let (record, tail) = next(choice, tail);
        rest = tail;
        let is_end_or_window = matches!(kind(&record), Some(Kind::Closed | Kind::Window | Kind::Progress));
        handshakes += u64::from(!is_end_or_window);
        if let Ok(Observation::Handshake(finding)) = engine.ingest(&record) {
            check(&finding);
        }
        assert!(engine.flows().len() <= FLOW_LIMIT);
    }
    let totals = engine.books().totals(KernelTotals {
        handshakes,
        sent: handshakes,
        lost: 0,
    });
    assert!(totals.balanced, "{totals:?}");
    let (ports, remote_ports) = (engine.flows().ports(), engine.flows().remote_ports());
    let open: u64 = ports
        .values()
        .chain(remote_ports.values())
        .map(|p| p.mismatched + p.scale_lost)
        .sum();
    assert_eq!(open, engine.flows().len() as u64);
});

fn rmem_max(ktime_ns: u64) -> Option<RmemMax> {
    Some(RmemMax {
        ktime_ns,
        bytes: 212_992,
    })
}

/// Cuts a record off `data`. Mostly its header is put right, else hardly any would get past it.
fn next(choice: u8, data: &[u8]) -> (Vec<u8>, &[u8]) {
    let (kind, len) = LENGTHS[usize::from(choice) % LENGTHS.len()];
    let (head, tail) = data.split_at(len.min(data.len()));
    let mut record = head.to_vec();
    if choice < 0xf0 {
        record.resize(len, 0);
        record[0..2].copy_from_slice(&ABI_VERSION.to_ne_bytes());
        record[2..4].copy_from_slice(&(kind as u16).to_ne_bytes());
        record[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    }
    (record, tail)
}

/// What a record claims to be, read as plainly as can be.
fn kind(record: &[u8]) -> Option<Kind> {
    let header = record.get(..16)?;
    let version = u16::from_ne_bytes([header[0], header[1]]);
    let kind = u16::from_ne_bytes([header[2], header[3]]);
    (version == ABI_VERSION).then(|| Kind::try_from(kind).ok())?
}

/// What holds of any finding.
fn check(finding: &Finding) {
    match finding.verdict {
        Verdict::Unverified(_) => assert!(finding.receive.is_none() && finding.send.is_none()),
        Verdict::Ok => {
            let (receive, send) = (finding.receive.unwrap(), finding.send.unwrap());
            assert!(receive.used.is_some() && receive.used == receive.advertised);
            assert!(send.used.is_some() && send.used == send.offered);
        }
        Verdict::ScaleLost(cause) => {
            assert_eq!(finding.ignored, cause.is_the_peers() && finding.flow.remote().port() % 2 == 1);
            let (receive, send) = (finding.receive.unwrap(), finding.send.unwrap());
            assert_eq!((receive.used, receive.damage), (None, Damage::None));
            assert_eq!((send.used, send.damage), (None, Damage::None));
            // What a SYN of this host offered and its peer did not grant is known all the same.
            assert!(receive.advertised.is_none() || finding.role == Role::Client);
        }
        Verdict::Mismatch(_) => {
            let (receive, send) = (finding.receive.unwrap(), finding.send.unwrap());
            assert!(receive.used != receive.advertised || send.used != send.offered);
        }
    }
    assert!(!finding.ignored || matches!(finding.verdict, Verdict::ScaleLost(_)));
    if let Some(ceiling) = finding.impact.ceiling_bytes_per_second {
        assert!(ceiling.is_finite() && ceiling >= 0.0);
        assert!(finding.verdict.is_damaged());
    }
}
