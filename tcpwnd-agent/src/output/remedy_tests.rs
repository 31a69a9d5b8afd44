//! Which steps are given for which causes.

use tcpwnd_common::{ConnectRecord, child_flags};
use tcpwnd_core::detect::window_scale::{ChangedInput, Input, LostCause, MismatchCause};
use tcpwnd_core::findings::Process;

use super::{Hints, Queue, steps};
use crate::host::settings::Settings;
use crate::testing;

const SETTINGS: Settings = Settings {
    netns: Some(7),
    somaxconn: Some(4_096),
    max_syn_backlog: Some(512),
    syncookies: Some(1),
    timestamps: Some(0),
    window_scaling: Some(0),
};

fn hints(mismatch: &[MismatchCause], lost: &[LostCause]) -> Hints {
    Hints {
        mismatch: mismatch.iter().copied().collect(),
        lost: lost.iter().copied().collect(),
        by_cookie: !mismatch.is_empty(),
        rcvbuf: Some((102_400, 102_400)),
        netns: [7].into(),
        changed: [(
            Input::TcpRmemMax.name(),
            ChangedInput {
                input: Input::TcpRmemMax,
                synack: 6_291_456,
                ack: 131_072,
            },
        )]
        .into(),
        ..Hints::default()
    }
}

/// The first words of each step.
fn begin(hints: &Hints) -> Vec<String> {
    let steps = steps(hints, &SETTINGS, None);
    let begin = |step: &String| {
        step.split([':', '=', '('])
            .next()
            .unwrap_or("")
            .trim()
            .to_owned()
    };
    steps.iter().map(begin).collect()
}

const ALWAYS: [&str; 3] = [
    "reconnect the damaged clients",
    "make the listen queue longer, so that no cookies are needed",
    "or net.ipv4.tcp_syncookies",
];

#[test]
fn nothing_is_to_be_done_about_sound_connections() {
    assert_eq!(steps(&Hints::default(), &SETTINGS, None), [""; 0]);
}

/// What a mismatch of each cause wants beside [`ALWAYS`].
fn own(cause: MismatchCause) -> &'static [&'static str] {
    match cause {
        MismatchCause::CookieIgnoredRcvbuf => &[
            "no SO_RCVBUF",
            "a kernel whose cookie path respects SO_RCVBUF",
        ],
        MismatchCause::TcpRmemChanged => {
            &["change the last value of net.ipv4.tcp_rmem while no clients connect"]
        }
        MismatchCause::RmemMaxChanged => &["change net.core.rmem_max while no clients connect"],
        MismatchCause::AdvWinScaleChanged => &[
            "no SO_RCVBUF",
            "change net.ipv4.tcp_adv_win_scale while no clients connect",
        ],
        MismatchCause::RouteWindowChanged => {
            &["change the window of the route to the clients while no clients connect"]
        }
        MismatchCause::RcvbufChanged => &["no SO_RCVBUF", "set SO_RCVBUF before listen"],
        MismatchCause::WindowClampChanged => &["set TCP_WINDOW_CLAMP before listen"],
        MismatchCause::RcvlowatChanged => &["set SO_RCVLOWAT before listen"],
        MismatchCause::ListenerChanged => &[
            "no SO_RCVBUF",
            "give every listener of the port the same SO_RCVBUF",
        ],
        MismatchCause::CookieTimestampsMissing => &["keep TCP timestamps on the whole path"],
        MismatchCause::TimestampsDisabled => &["net.ipv4.tcp_timestamps"],
        MismatchCause::Unknown => &["no SO_RCVBUF"],
        // Cookies alone do it.
        MismatchCause::CookieTcpAo => &[],
        // Where cookies have no part in it; see below.
        MismatchCause::SynproxyWscale | MismatchCause::ScalingSwitchedOff => &[],
    }
}

#[test]
fn each_cause_has_its_own_steps_behind_the_common_ones() {
    for cause in MismatchCause::ALL {
        let expected: Vec<_> = ALWAYS.iter().chain(own(*cause)).copied().collect();
        assert_eq!(begin(&hints(&[*cause], &[])), expected, "{cause}");
    }
}

/// What lost scaling of each cause wants.
#[test]
fn each_cause_of_lost_scaling_has_its_own_step() {
    for cause in LostCause::ALL {
        let own = match cause {
            LostCause::CookieWithoutTimestamps => Some("keep TCP timestamps on the whole path"),
            LostCause::PeerDidNotOffer => Some("some clients offer no window scaling"),
            LostCause::DisabledHere => Some("net.ipv4.tcp_window_scaling"),
            LostCause::SynproxyWithoutScale => {
                Some("timestamp and wscale in the rule of netfilter's SYN proxy")
            }
            // Nothing is known that would help; the other is of connections opened here.
            LostCause::Unknown | LostCause::PeerDidNotGrant => None,
        };
        let expected: Vec<_> = ["reconnect the damaged clients"]
            .into_iter()
            .chain(own)
            .collect();
        assert_eq!(begin(&hints(&[], &[*cause])), expected, "{cause}");
    }
}

/// The causes of connections that were opened here, from the record on.
#[test]
fn what_is_opened_here_has_steps_of_its_own() {
    let last = "reconnect what was opened here, once that is done";
    let said = |change: fn(&mut ConnectRecord)| {
        let mut record = testing::opened(40_001, 9092, false);
        change(&mut record);
        let mut hints = Hints::default();
        hints.add(&testing::finding(&mut testing::engine(), &record));
        begin(&hints)
    };
    let bare = "some servers granted neither window scale nor timestamps nor SACK, as a SYN cookie \
                does without timestamps";
    assert_eq!(said(|_| {}), [bare, last]);
    // SACK was granted.
    let refused = said(|record| {
        let options = &mut record.connect.options;
        options.len = 6;
        options.bytes[4..6].copy_from_slice(&[4, 2]);
    });
    assert_eq!(refused, ["some servers grant no window scaling", last]);
    let off = |record: &mut ConnectRecord| record.child.sysctl_window_scaling = 0;
    assert_eq!(said(off), ["net.ipv4.tcp_window_scaling", last]);
    // The server did grant it.
    let switched_off = said(|record| {
        *record = testing::opened(40_001, 9092, true);
        record.child.sysctl_window_scaling = 0;
        record.child.flags &= !child_flags::WSCALE_OK;
        (record.child.rcv_wscale, record.child.snd_wscale) = (0, 0);
    });
    assert_eq!(switched_off, ["net.ipv4.tcp_window_scaling", last]);
}

#[test]
fn cookies_are_no_matter_where_none_did_damage() {
    let disabled = steps(&hints(&[], &[LostCause::DisabledHere]), &SETTINGS, None);
    assert_eq!(disabled.len(), 2);
    assert_eq!(disabled[1], "net.ipv4.tcp_window_scaling=1 (now 0)");
}

#[test]
fn present_and_proposed_values_stand_beside_each_other() {
    let queue = Some(Queue {
        limit: 50,
        cookies: 1_950,
    });
    let found = steps(
        &hints(&[MismatchCause::TcpRmemChanged], &[]),
        &SETTINGS,
        queue,
    );
    assert!(
        found[1].ends_with(
            ": the backlog given to listen()=2048 (now 50; socket.listen.backlog.size in Kafka from \
             3.2 on), net.core.somaxconn as it is (4096)"
        ),
        "{found:?}"
    );
    assert!(found[2].contains("tcp_syncookies=0 (now 1)"), "{found:?}");
    assert!(
        found[3].ends_with("(it went from 6291456 to 131072)"),
        "{found:?}"
    );
}

#[test]
fn another_namespaces_settings_are_not_given_for_the_listeners() {
    let mut elsewhere = hints(&[MismatchCause::TimestampsDisabled], &[]);
    elsewhere.netns.insert(8);
    for step in steps(&elsewhere, &SETTINGS, None) {
        assert!(!step.contains("(now"), "{step}");
    }
}

/// The steps where `tcp_syncookies` is this, with the SYN backlog of [`SETTINGS`] or another.
fn with_cookies(syncookies: Option<u32>, max_syn_backlog: u32) -> Vec<String> {
    let settings = Settings {
        syncookies,
        max_syn_backlog: Some(max_syn_backlog),
        ..SETTINGS
    };
    steps(&hints(&[MismatchCause::CookieTcpAo], &[]), &settings, None)
}

#[test]
fn cookies_that_are_off_need_no_switching_off() {
    let found = with_cookies(Some(0), 512);
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[1],
        "make the listen queue longer, so that SYNs are not dropped while net.ipv4.tcp_syncookies is \
         0: the backlog given to listen()=1024 (socket.listen.backlog.size in Kafka from 3.2 on), \
         net.core.somaxconn as it is (4096), net.ipv4.tcp_max_syn_backlog=2048 (now 512)"
    );
}

#[test]
fn no_longer_queue_is_asked_for_where_every_syn_gets_a_cookie() {
    let found = with_cookies(Some(2), 512);
    assert_eq!(found.len(), 2);
    assert!(
        found[1].starts_with("net.ipv4.tcp_syncookies=1 (now 2), or 0 where no hostile flood"),
        "{found:?}"
    );
    assert!(!found[1].contains("backlog"), "{found:?}");
}

/// `tcp_max_syn_backlog` counts only while `tcp_syncookies` is 0, and of it three quarters.
#[test]
fn the_syn_backlog_is_spoken_of_only_where_cookies_are_off() {
    for on in [Some(1), None] {
        let found = with_cookies(on, 512);
        assert!(found[1].starts_with(ALWAYS[1]) && !found[1].contains("max_syn_backlog"));
        assert!(
            found[2].starts_with("or net.ipv4.tcp_syncookies=0"),
            "{found:?}"
        );
        let end = ", and net.ipv4.tcp_max_syn_backlog=2048 (now 512) counts only then";
        assert!(found[2].ends_with(end), "{found:?}");
    }
    for syncookies in [Some(0), Some(1)] {
        let speaks = |limit| {
            let found = with_cookies(syncookies, limit);
            found.iter().any(|step| step.contains("max_syn_backlog"))
        };
        assert!(speaks(1_364) && !speaks(1_365));
    }
}

#[test]
fn the_present_receive_buffer_is_that_of_the_evidence() {
    let mut hints = Hints::default();
    let mut engine = testing::engine();
    let mut record = testing::handshake(9092, 1, 1, 7);
    hints.add(&testing::finding(&mut engine, &record));
    let of = |hints: &Hints| {
        let steps = steps(hints, &SETTINGS, None);
        let found = steps
            .into_iter()
            .find(|step| step.starts_with("no SO_RCVBUF"));
        found.unwrap()
    };
    // The kernel keeps twice what was set.
    assert_eq!(record.handshake.cookie_inputs.rcvbuf, 204_800);
    assert!(
        of(&hints).starts_with("no SO_RCVBUF (now 102400; "),
        "{}",
        of(&hints)
    );
    // Set to another value meanwhile, on another listener.
    record.flow.remote_port = 2;
    record.handshake.cookie_inputs.rcvbuf = 131_072;
    hints.add(&testing::finding(&mut engine, &record));
    let both = of(&hints);
    assert!(
        both.starts_with("no SO_RCVBUF (now 65536 to 102400; "),
        "{both}"
    );
    // Where it was not set there is nothing to do without.
    for inputs in [
        &mut record.handshake.inputs,
        &mut record.handshake.cookie_inputs,
    ] {
        inputs.userlocks = 0;
    }
    let mut hints = Hints::default();
    hints.add(&testing::finding(&mut engine, &record));
    let found = steps(&hints, &SETTINGS, None);
    assert!(
        found.iter().all(|step| !step.contains("SO_RCVBUF")),
        "{found:?}"
    );
}

#[test]
fn a_syn_proxy_is_told_what_the_sockets_use() {
    let mut hints = hints(&[MismatchCause::SynproxyWscale], &[]);
    hints.by_cookie = false;
    hints.synproxy = [(3, 7)].into();
    let all = steps(&hints, &SETTINGS, None);
    assert_eq!(all.len(), 2);
    let begin = "wscale 7 in the rule of netfilter's SYN proxy (now 3): ";
    assert!(all[1].starts_with(begin), "{}", all[1]);
}

#[test]
fn a_syn_proxy_without_a_scale_is_given_one() {
    let hints = hints(&[], &[LostCause::SynproxyWithoutScale]);
    assert_eq!(
        begin(&hints),
        [
            "reconnect the damaged clients",
            "timestamp and wscale in the rule of netfilter's SYN proxy",
        ]
    );
}

/// From the process that the finding names to the words.
#[test]
fn kafkas_settings_are_named_where_the_damaged_listener_is_a_broker() {
    let said = |kafka: Option<bool>| {
        let record = testing::handshake(9092, 1, 1, 7);
        let mut finding = testing::finding(&mut testing::engine(), &record);
        finding.listener.process = kafka.map(|kafka| Process {
            pid: 812,
            name: "java".to_owned(),
            kafka,
            others: 0,
        });
        let mut hints = Hints::default();
        hints.add(&finding);
        steps(&hints, &SETTINGS, None).join("\n")
    };
    let has = |text: &str| {
        (
            text.contains("socket.listen.backlog.size") && text.contains("socket.receive.buffer"),
            text.contains("the backlog given to listen()") && text.contains("no SO_RCVBUF"),
        )
    };
    assert_eq!(has(&said(Some(true))), (true, false));
    assert_eq!(has(&said(Some(false))), (false, true));
    assert_eq!(has(&said(None)), (true, true));
    assert!(!said(Some(false)).contains("Kafka"));
}
