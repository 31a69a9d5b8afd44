//! Which steps are given for which causes.

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
        rcvbuf_locked: true,
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

#[test]
fn each_cause_has_its_own_steps_behind_the_common_ones() {
    let of: &[(MismatchCause, &[&str])] = &[
        (
            MismatchCause::CookieIgnoredRcvbuf,
            &[
                "no SO_RCVBUF",
                "a kernel whose cookie path respects SO_RCVBUF",
            ],
        ),
        (
            MismatchCause::TcpRmemChanged,
            &["change the last value of net.ipv4.tcp_rmem while no clients connect"],
        ),
        (
            MismatchCause::RcvbufChanged,
            &[
                "no SO_RCVBUF",
                "set SO_RCVBUF before listen(), and leave it alone",
            ],
        ),
        (
            MismatchCause::ListenerChanged,
            &[
                "no SO_RCVBUF",
                "give every listener of the port the same SO_RCVBUF",
            ],
        ),
        (
            MismatchCause::CookieTimestampsMissing,
            &["keep TCP timestamps on the whole path"],
        ),
        (
            MismatchCause::TimestampsDisabled,
            &["net.ipv4.tcp_timestamps"],
        ),
        (MismatchCause::CookieTcpAo, &[]),
    ];
    for (cause, own) in of {
        let expected: Vec<&str> = ALWAYS.iter().chain(*own).copied().collect();
        let found = begin(&hints(&[*cause], &[]));
        // "listen()" has a bracket of its own.
        let cut = |text: &str| text.split('(').next().unwrap_or("").trim().to_owned();
        assert_eq!(
            found,
            expected.iter().map(|text| cut(text)).collect::<Vec<_>>(),
            "{cause}"
        );
    }
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
            "the backlog given to listen()=2048 (now 50; socket.listen.backlog.size in Kafka from 3.2 \
             on), net.core.somaxconn as it is (4096), net.ipv4.tcp_max_syn_backlog=2048 (now 512)"
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

#[test]
fn cookies_that_are_off_need_no_switching_off() {
    let off = Settings {
        syncookies: Some(0),
        ..SETTINGS
    };
    let found = steps(&hints(&[MismatchCause::TcpRmemChanged], &[]), &off, None);
    assert!(
        found.iter().all(|step| !step.contains("syncookies")),
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
