//! Lines of every kind, made by the code that prints them.

use std::fs;

use serde_json::{Map, Value};
use tcpwnd_common::{
    ClosedRecord, TcpOptions, WindowRecord, child_flags, connect_flags, handshake_flags,
    synack_flags,
};
use tcpwnd_core::books::KernelTotals;
use tcpwnd_core::engine::{Engine, Observation};
use tcpwnd_core::findings::{Finding, Listener, Place, Process, SCHEMA};

use crate::commands::session::Sink;
use crate::host::settings::Settings;
use crate::host::who::Directory;
use crate::output::held_back::{HeldBack, Sort};
use crate::output::json::{self, Json};
use crate::output::log::Log;
use crate::output::reconnect;
use crate::output::remedy::Hints;
use crate::output::summary::{self, Summary};
use crate::probes::{CountersSnapshot, Mechanism, ProbeStatus};
use crate::testing;

/// A line of JSON per call, as `trace` prints them.
struct Lines {
    engine: Engine,
    out: Vec<u8>,
    log: Vec<u8>,
}

impl Lines {
    fn new() -> Self {
        Self {
            engine: testing::engine(),
            out: Vec::new(),
            log: Vec::new(),
        }
    }

    fn handshake(&mut self, finding: &Finding) {
        Json::new(&mut self.out, true).handshake(finding).unwrap();
        Log::new(&mut self.log).handshake(finding).unwrap();
    }

    fn record<T: Copy>(&mut self, record: &T) -> Finding {
        let finding = testing::finding(&mut self.engine, record);
        self.handshake(&finding);
        finding
    }

    /// Connections that this host opened, with what can be known of them and without.
    fn opened(&mut self) {
        self.record(&testing::opened(40_001, 9092, true));
        let mut refused = testing::opened(40_002, 9092, false);
        // Timestamps and no MSS; the SYN carried no window scale.
        options(
            &mut refused.connect.options,
            &[8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0],
        );
        refused.connect.rcv_wscale = 0;
        refused.connect.begun_window_scaling = 0;
        self.record(&refused);
        let mut unanswered = testing::opened(40_003, 9092, true);
        unanswered.connect.flags = connect_flags::BEGUN;
        self.record(&unanswered);
        unanswered.connect.flags = 0;
        self.record(&unanswered);
    }

    fn end(&mut self, record: &ClosedRecord) {
        let Observation::Closed(closed) = testing::ingest(&mut self.engine, record) else {
            panic!("not the end of a connection");
        };
        Json::new(&mut self.out, true).closed(&closed).unwrap();
        Log::new(&mut self.log).closed(&closed).unwrap();
    }

    fn window(&mut self, record: &WindowRecord) {
        let Observation::Window(window) = testing::ingest(&mut self.engine, record) else {
            panic!("not a window");
        };
        Json::new(&mut self.out, true).window(&window).unwrap();
    }
}

/// A listener of which everything is known, but the runtime of its container perhaps.
fn named(runtime: bool) -> Listener {
    let (runtime, hex) = (if runtime { "crio-" } else { "" }, "0f".repeat(16));
    let cgroup = format!("/system.slice/kubelet.service/pod{hex}/{runtime}{hex}{hex}");
    Listener {
        inode: Some(70_707),
        netns_name: Some("kafka".to_owned()),
        process: Some(Process {
            pid: 812,
            name: "java".to_owned(),
            kafka: true,
            others: 0,
        }),
        place: Place::of(&cgroup),
        cgroup: Some(cgroup),
        ..Listener::default()
    }
}

/// Lines of every kind, with and without each thing that a field can lack, and the log.
pub fn printed() -> (Vec<Value>, String) {
    let mut lines = Lines::new();
    let mut hints = Hints::default();
    let damaged = testing::handshake(9092, 1, 1, 7);
    let mut finding = lines.record(&damaged);
    hints.add(&finding);
    lines.record(&testing::handshake(9092, 2, 7, 7));

    for runtime in [true, false] {
        finding.listener = named(runtime);
        lines.handshake(&finding);
    }

    // A kernel without a scaling ratio, older than what was read of rmem_max.
    let mut older = testing::handshake(9092, 13, 1, 7);
    older.handshake.first.ktime_ns = 1;
    for inputs in [
        &mut older.handshake.inputs,
        &mut older.handshake.cookie_inputs,
    ] {
        (inputs.scaling_ratio, inputs.adv_win_scale) = (0, 1);
    }
    lines.record(&older);
    // A cookie for a peer that takes larger segments than there is room for.
    let mut segments = testing::handshake(9092, 14, 1, 7);
    (segments.child.advmss, segments.child.mss_clamp) = (1_460, 536);
    options(&mut segments.handshake.syn, &[2, 4, 5, 0xb4, 3, 3, 7, 0]);
    lines.record(&segments);
    // The listener's buffer was changed before the ACK.
    let mut changed = testing::handshake(9092, 3, 1, 7);
    changed.handshake.cookie_inputs.rcvbuf *= 2;
    lines.record(&changed);
    let mut second = testing::handshake(9092, 4, 1, 7);
    second.handshake.last = second.handshake.first;
    second.handshake.last.rcv_wscale = 2;
    second.handshake.synacks = 2;
    second.handshake.flags |= handshake_flags::SYNACKS_DIFFER;
    lines.record(&second);
    // No time is known, neither a measured one nor that of the handshake.
    let mut timeless = testing::handshake(9092, 12, 1, 7);
    timeless.child.srtt_us8 = 0;
    timeless.handshake.synacks = 2;
    let timeless = lines.record(&timeless);
    // Timestamps and no MSS.
    let mut timestamps = testing::handshake(9092, 5, 7, 7);
    let handshake = &mut timestamps.handshake;
    options(&mut handshake.syn, &[3, 3, 7, 0]);
    options(
        &mut handshake.first.options,
        &[8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 3, 3, 7, 0],
    );
    options(
        &mut handshake.ack.options,
        &[8, 10, 0, 0, 0, 7, 0, 0, 0, 7, 0, 0],
    );
    lines.record(&timestamps);
    // A socket that does not scale, though both ends had agreed to.
    let mut stripped = testing::handshake(9092, 10, 7, 0);
    stripped.child.flags &= !child_flags::WSCALE_OK;
    stripped.child.snd_wscale = 0;
    lines.record(&stripped);
    // netfilter's SYN proxy, which announces all there is, or nothing.
    for bytes in [
        &[2, 4, 5, 0xb4, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 3, 3, 7, 0][..],
        &[4, 2],
    ] {
        let mut proxied = testing::handshake(9092, 11, 7, 7);
        proxied.handshake.first.flags |= synack_flags::PROXIED;
        proxied.handshake.syn_ack = 77;
        proxied.proxy.isn = 77;
        proxied.proxy.synacks = 1;
        proxied.proxy.ktime_ns = proxied.handshake.first.ktime_ns;
        options(&mut proxied.proxy.options, bytes);
        lines.record(&proxied);
    }
    // A peer that offers no window scale.
    lines.record(&testing::unscaled(9092, 9));
    lines.opened();
    let mut unknown = testing::handshake(9092, 6, 7, 7);
    unknown.record_found = 0;
    unknown.child.srtt_us8 = 0;
    lines.record(&unknown);

    let window = testing::window(&damaged);
    lines.window(&window);
    lines.window(&WindowRecord {
        flow: unknown.flow,
        ..window
    });
    let mut closed = testing::closed(&damaged, 1_000_000);
    lines.end(&closed);
    closed.srtt_us8 = 8 * 200_000;
    lines.end(&closed);
    let open = testing::handshake(9092, 7, 1, 7);
    testing::finding(&mut lines.engine, &open);

    let mut held_back = HeldBack::new(1);
    for sort in [
        Sort::handshake(9092, finding.verdict),
        Sort::closed(9092),
        Sort::closed(9092).opened(),
    ] {
        held_back.admits(0, sort);
        held_back.admits(0, sort);
    }
    for report in held_back.rest() {
        Json::new(&mut lines.out, true).held_back(&report).unwrap();
        Log::new(&mut lines.log).held_back(&report).unwrap();
    }

    let mut out = lines.out;
    let mut json = Json::new(&mut out, true);
    let mut without_time = Hints::default();
    without_time.add(&timeless);
    for (missed, hints) in [
        (None, &hints),
        (Some(0), &without_time),
        (Some(0), &Hints::default()),
    ] {
        json.now(summary::KIND, summary(&lines.engine, hints, missed))
            .unwrap();
    }
    json::error(&mut out, "failed to attach").unwrap();
    let lines_of = |text: &str| -> Vec<Value> {
        let of_line = |line| serde_json::from_str(line).unwrap();
        text.lines().map(of_line).collect()
    };
    let mut values = lines_of(&String::from_utf8(out).unwrap());
    values.extend(super::scans::scans());
    values.extend(checks());
    (values, String::from_utf8(lines.log).unwrap())
}

fn options(into: &mut TcpOptions, bytes: &[u8]) {
    into.present = 1;
    into.len = u8::try_from(bytes.len()).unwrap();
    into.bytes[..bytes.len()].copy_from_slice(bytes);
}

fn summary(engine: &Engine, hints: &Hints, missed: Option<u64>) -> Summary {
    let kernel = KernelTotals {
        handshakes: 7,
        sent: 7,
        lost: 0,
    };
    let status = |reason: Option<&str>, mechanism| ProbeStatus {
        probe: tcpwnd_common::Probe::SetState,
        mechanism,
        symbol: "inet_sock_set_state",
        attached: true,
        reason: reason.map(str::to_owned),
        runs: 5,
        missed,
        run_time_ns: None,
        unseen: missed,
    };
    let totals = engine.books().totals(kernel).with_missed_runs(missed);
    let probes = vec![
        status(Some("this kernel has no such symbol"), None),
        status(None, Some(Mechanism::RawTracepoint)),
    ];
    let mut directory = Directory::default();
    for (inode, listener) in [
        (1, named(true)),
        (2, named(false)),
        (3, Listener::default()),
    ] {
        let mut finding =
            testing::finding(&mut testing::engine(), &testing::handshake(9092, 8, 1, 7));
        finding.listener = Listener {
            inode: Some(inode),
            ..listener
        };
        directory.note(&finding);
    }
    let unknown = testing::listener(9093, 7, 2);
    let slot = testing::listener(9092, 4_026_531_840, 2);
    let counters = CountersSnapshot::of(&[]);
    let mut summary = Summary::new(totals, &[slot, unknown], &directory, probes, &counters);
    let reconnect = reconnect::groups(engine.flows(), |_| Some(String::new()));
    summary.advise(hints, &Settings::default(), reconnect);
    summary
}

/// `check` as it was printed in VMs, and its assessments of made-up hosts.
fn checks() -> Vec<Value> {
    let read = |folder: &str| -> Vec<Value> {
        let folder = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
        let paths = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let json = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        json.map(|path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
            .collect()
    };
    let mut values = read("../tcpwnd-lab/golden/check");
    for risk in read("tests/golden/check") {
        values.push(Value::Object(Map::from_iter([
            ("schema".to_owned(), SCHEMA.into()),
            ("kind".to_owned(), "check".into()),
            ("risk".to_owned(), risk),
        ])));
    }
    values.extend(crate::commands::examples_of_check());
    values
}
