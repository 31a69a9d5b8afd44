//! What is called a risk, what a notice, and what neither.

use super::{
    Assessment, Finding, Host, Level, Listener, ListenerReport, Process, Settings, assess,
};
use std::net::{IpAddr, Ipv4Addr};

fn settings() -> Settings {
    Settings {
        tcp_syncookies: Some(1),
        tcp_timestamps: Some(1),
        tcp_window_scaling: Some(1),
        somaxconn: Some(4_096),
        tcp_max_syn_backlog: Some(512),
        tcp_rmem_default: Some(131_072),
        tcp_rmem_max: Some(6 << 20),
        rmem_max: Some(212_992),
        tcp_adv_win_scale: None,
    }
}

fn sound() -> Listener {
    Listener {
        addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 9092,
        queue_len: 0,
        queue_limit: 4_096,
        rcvbuf: Some(131_072),
        process: None,
    }
}

fn kafka() -> Listener {
    Listener {
        queue_limit: 50,
        rcvbuf: Some(204_800),
        ..sound()
    }
}

fn with(settings: Settings, listener: Listener) -> Assessment {
    assess(&Host {
        settings,
        counters: [("SyncookiesSent".to_owned(), 0)].into(),
        listeners: Some(vec![listener]),
        unseen: Vec::new(),
    })
}

fn report(settings: Settings, listener: Listener) -> ListenerReport {
    with(settings, listener).listeners.unwrap().remove(0)
}

fn about<'a>(findings: &'a [Finding], what: &str) -> &'a Finding {
    findings.iter().find(|one| one.about == what).unwrap()
}

#[test]
fn a_good_host_has_no_finding_above_ok() {
    let good = with(settings(), sound());
    assert_eq!(good.level, Level::Ok);
    assert_eq!(good.findings.len(), 6);
    let of_listener = &good.listeners.as_ref().unwrap()[0].findings;
    let all = good.findings.iter().chain(of_listener);
    for finding in all {
        assert!(finding.remedies.is_empty(), "{finding:?}");
    }
}

#[test]
fn kafkas_defaults_are_a_risk_with_cookies_only() {
    let broker = report(settings(), kafka());
    assert_eq!(broker.level, Level::Risk);
    let scale = broker.scale.unwrap();
    assert_eq!(
        (scale.announced, scale.ignoring_rcvbuf, scale.factor),
        (1, 7, 64)
    );
    let buffer = about(&broker.findings, "receive buffer");
    assert!(buffer.why.contains("64 times smaller"), "{}", buffer.why);
    let remedy = &buffer.remedies[0];
    assert_eq!((remedy.present, remedy.proposed), (Some(102_400), Some(-1)));
    let queue = about(&broker.findings, "listen queue");
    let remedy = &queue.remedies[0];
    assert_eq!((remedy.present, remedy.proposed), (Some(50), Some(1_024)));

    let off = Settings {
        tcp_syncookies: Some(0),
        ..settings()
    };
    let broker = report(off, kafka());
    assert_eq!(broker.level, Level::Notice);
    let queue = about(&broker.findings, "listen queue");
    assert!(queue.why.contains("dropped"), "{}", queue.why);
}

#[test]
fn kafkas_settings_are_named_where_the_listener_is_a_broker() {
    let named = |kafka: Option<bool>| {
        let process = kafka.map(|kafka| Process {
            pid: 812,
            name: "java".to_owned(),
            kafka,
        });
        let listener = Listener {
            process,
            ..self::kafka()
        };
        let findings = report(settings(), listener).findings;
        let what = |about_what| about(&findings, about_what).remedies[0].what;
        [what("listen queue"), what("receive buffer")]
    };
    let has = |text: &str| named_in(&named(Some(true)), text);
    assert!(has("socket.listen.backlog.size") && has("socket.receive.buffer.bytes"));
    assert!(!has("listen()"));
    let has = |text: &str| named_in(&named(Some(false)), text);
    assert!(has("listen()") && has("SO_RCVBUF"));
    assert!(!has("Kafka") && !has("socket."));
    let has = |text: &str| named_in(&named(None), text);
    assert!(has("listen()") && has("socket.listen.backlog.size"));
    assert!(has("SO_RCVBUF") && has("socket.receive.buffer.bytes"));
}

fn named_in(remedies: &[&str], text: &str) -> bool {
    remedies.iter().any(|what| what.contains(text))
}

/// At 2 the length of a queue has no say in it.
#[test]
fn no_longer_queue_is_asked_for_where_every_syn_gets_a_cookie() {
    let always = Settings {
        tcp_syncookies: Some(2),
        ..settings()
    };
    let queue = report(always, kafka()).findings.remove(0);
    assert_eq!((queue.about, queue.level), ("listen queue", Level::Ok));
    assert!(queue.remedies.is_empty(), "{queue:?}");
    let host = |tcp_syncookies| Host {
        settings: Settings {
            tcp_syncookies: Some(tcp_syncookies),
            ..settings()
        },
        counters: [("SyncookiesSent".to_owned(), 7)].into(),
        ..Host::default()
    };
    let remedy = |cookies| assess(&host(cookies)).happened[0].remedies[0].what;
    assert!(remedy(1).starts_with("make the listen queues longer"));
    assert!(remedy(2).starts_with("set net.ipv4.tcp_syncookies to 1"));
    // A full accept queue is another matter.
    let full = Listener {
        queue_len: 51,
        ..kafka()
    };
    let queue = report(always, full).findings.remove(0);
    assert_eq!((queue.level, queue.remedies.len()), (Level::Risk, 1));
}

#[test]
fn a_receive_buffer_that_makes_no_difference_is_ok() {
    let large = Listener {
        rcvbuf: Some(12 << 20),
        ..sound()
    };
    let broker = report(settings(), large);
    assert_eq!((broker.rcvbuf_set, broker.level), (Some(true), Level::Ok));
}

#[test]
fn a_full_accept_queue_is_a_risk_however_long() {
    let at_limit = Listener {
        queue_len: 4_096,
        ..sound()
    };
    assert_eq!(with(settings(), at_limit).level, Level::Ok);
    let full = Listener {
        queue_len: 4_097,
        ..sound()
    };
    assert_eq!(with(settings(), full).level, Level::Risk);
}

#[test]
fn somaxconn_is_to_be_raised_where_it_limits_the_queue() {
    let short = Settings {
        somaxconn: Some(128),
        ..settings()
    };
    let cut = Listener {
        queue_limit: 128,
        ..sound()
    };
    assert_eq!(with(short, sound()).level, Level::Notice);
    let remedies = |settings| {
        let queue = report(settings, cut.clone()).findings.remove(0);
        queue.remedies.len()
    };
    assert_eq!(remedies(short), 2);
    assert_eq!(remedies(settings()), 1);
}

#[test]
fn settings_that_cost_the_scale_are_risks() {
    let level = |change: fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        with(settings, sound()).level
    };
    assert_eq!(level(|s| s.tcp_syncookies = Some(2)), Level::Risk);
    assert_eq!(level(|s| s.tcp_timestamps = Some(0)), Level::Risk);
    assert_eq!(level(|s| s.tcp_window_scaling = Some(0)), Level::Risk);
    let without_cookies = |s: &mut Settings| {
        s.tcp_syncookies = Some(0);
        s.tcp_timestamps = Some(0);
        s.tcp_max_syn_backlog = Some(4_096);
    };
    assert_eq!(level(without_cookies), Level::Notice);
}

/// 3/4 of it is for unknown clients.
#[test]
fn the_syn_backlog_counts_without_cookies_only() {
    let level = |cookies, limit| {
        let settings = Settings {
            tcp_syncookies: Some(cookies),
            tcp_max_syn_backlog: Some(limit),
            ..settings()
        };
        with(settings, sound()).level
    };
    assert_eq!(level(1, 128), Level::Ok);
    assert_eq!(level(0, 1_364), Level::Notice);
    assert_eq!(level(0, 1_365), Level::Ok);
}

#[test]
fn counters_say_that_it_has_happened() {
    let counters = [("SyncookiesRecv", 7), ("ListenDrops", 0), ("TW", 9)];
    let host = Host {
        settings: settings(),
        counters: counters
            .map(|(name, count)| (name.to_owned(), count))
            .into(),
        ..Host::default()
    };
    let assessment = assess(&host);
    assert_eq!(assessment.level, Level::Notice);
    let names: Vec<_> = assessment.happened.iter().map(|one| one.about).collect();
    assert_eq!(names, ["SyncookiesRecv"]);
    assert_eq!(assessment.happened[0].read, "7");
    // What is not among the counters is not told of.
    let told: Vec<_> = assessment.counters.into_iter().collect();
    assert_eq!(told, [("ListenDrops", 0), ("SyncookiesRecv", 7)]);
}

#[test]
fn what_is_not_known_is_not_in_order() {
    let of_nothing = report(Settings::default(), sound());
    assert_eq!((of_nothing.rcvbuf_set, of_nothing.scale), (None, None));
    assert_eq!(of_nothing.level, Level::Notice);
    let no_buffer = Listener {
        rcvbuf: None,
        ..sound()
    };
    assert_eq!(with(settings(), no_buffer).level, Level::Notice);

    let seen = Host {
        settings: settings(),
        counters: [("SyncookiesSent".to_owned(), 0)].into(),
        listeners: Some(Vec::new()),
        unseen: Vec::new(),
    };
    assert_eq!(assess(&seen).level, Level::Ok);
    for hide in [
        |host: &mut Host| host.listeners = None,
        |host: &mut Host| host.counters.clear(),
        |host: &mut Host| host.settings.tcp_timestamps = None,
    ] {
        let mut blind = seen.clone();
        hide(&mut blind);
        assert_eq!(assess(&blind).level, Level::Notice, "{blind:?}");
    }
}
