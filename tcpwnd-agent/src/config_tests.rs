//! From options to settings.

use std::collections::HashMap;
use std::ffi::OsString;

use tcpwnd_common::{FAMILY_IPV4, FAMILY_IPV6, FlowKey, PortRange, ROLE_CLIENT, ROLE_SERVER};

use super::{Filter, ignored_peers, listen_addr, print_run, recent_findings, ring_bytes};
use crate::cli::{self, Command, FilterArgs, RoleArg, RunArgs};

fn range(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

fn with_ports(list: &[&str]) -> anyhow::Result<Filter> {
    let port = list.iter().map(ToString::to_string).collect();
    Filter::resolve(&FilterArgs {
        port,
        ..FilterArgs::default()
    })
}

fn run_args(line: &str) -> RunArgs {
    match cli::parse(line.split_whitespace().map(OsString::from))
        .unwrap()
        .command
    {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn port_lists_are_sorted_and_joined() {
    assert_eq!(with_ports(&[]).unwrap().ports, []);
    assert_eq!(
        with_ports(&["9093-9099", "9092"]).unwrap().ports,
        [range(9092, 9099)]
    );
    assert_eq!(
        with_ports(&["80", "9092-9099", "9095", "65535"])
            .unwrap()
            .ports,
        [range(80, 80), range(9092, 9099), range(65535, 65535)]
    );
    assert_eq!(
        with_ports(&["1-65535", "65535"]).unwrap().ports,
        [range(1, 65535)]
    );
}

#[test]
fn bad_ports_are_named() {
    for bad in ["0", "65536", "x", "", "5-", "-5", "9-5", "1-2-3", "0-5"] {
        let error = with_ports(&["9092", bad]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("invalid value '{bad}' for --port: ")),
            "{error}"
        );
    }
}

#[test]
fn seventeen_ranges_do_not_fit() {
    let list = |n: u32| {
        (0..n)
            .map(|i| (1000 + 2 * i).to_string())
            .collect::<Vec<_>>()
    };
    let sixteen = Filter::resolve(&FilterArgs {
        port: list(16),
        ..FilterArgs::default()
    })
    .unwrap();
    let config = sixteen.kernel_config(RoleArg::Server, false);
    assert_eq!(config.port_range_count, 16);
    assert_eq!(config.port_ranges[15], range(1030, 1030));
    let error = Filter::resolve(&FilterArgs {
        port: list(17),
        ..FilterArgs::default()
    });
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("--port names 17 separate ranges, but only 16 fit"),
        "{error}"
    );
}

#[test]
fn families_and_namespace_reach_the_programs() {
    let config = |args: FilterArgs| {
        Filter::resolve(&args)
            .unwrap()
            .kernel_config(RoleArg::Server, true)
    };
    let both = config(FilterArgs::default());
    assert_eq!(
        (both.families, both.netns, both.confirm),
        (FAMILY_IPV4 | FAMILY_IPV6, 0, 1)
    );
    let named = config(FilterArgs {
        ipv4: true,
        ipv6: true,
        ..FilterArgs::default()
    });
    assert_eq!(named.families, FAMILY_IPV4 | FAMILY_IPV6);
    let v4 = config(FilterArgs {
        ipv4: true,
        ..FilterArgs::default()
    });
    assert_eq!(v4.families, FAMILY_IPV4);
    let v6 = config(FilterArgs {
        ipv6: true,
        netns: Some("7".into()),
        ..FilterArgs::default()
    });
    assert_eq!((v6.families, v6.netns), (FAMILY_IPV6, 7));
}

#[test]
fn roles_and_remote_ports_reach_the_programs() {
    let filter = Filter::resolve(&FilterArgs {
        remote_port: vec!["9092".into(), "9093-9095".into(), "80".into()],
        ..FilterArgs::default()
    })
    .unwrap();
    let server = filter.kernel_config(RoleArg::Server, true);
    assert_eq!((server.roles, server.confirm), (ROLE_SERVER, 1));
    assert_eq!(server.remote_port_range_count, 2);
    assert_eq!(server.remote_port_ranges[1], range(9092, 9095));
    assert_eq!(server.port_range_count, 0);
    // Windows are watched of connections that were accepted.
    let client = filter.kernel_config(RoleArg::Client, true);
    assert_eq!((client.roles, client.confirm), (ROLE_CLIENT, 0));
    let both = filter.kernel_config(RoleArg::Both, true);
    assert_eq!((both.roles, both.confirm), (ROLE_SERVER | ROLE_CLIENT, 1));
}

#[test]
fn a_local_port_for_connections_that_are_opened_is_spoken_of() {
    let filter = |port: &[&str], remote_port: &[&str]| {
        let list = |ports: &[&str]| ports.iter().map(ToString::to_string).collect();
        Filter::resolve(&FilterArgs {
            port: list(port),
            remote_port: list(remote_port),
            ..FilterArgs::default()
        })
        .unwrap()
    };
    let local = filter(&["9092"], &[]);
    assert_eq!(local.doubt(RoleArg::Server), None);
    assert!(local.doubt(RoleArg::Client).is_some());
    assert!(local.doubt(RoleArg::Both).is_some());
    for sound in [
        filter(&[], &["9092"]),
        filter(&[], &[]),
        filter(&["1"], &["2"]),
    ] {
        assert_eq!(sound.doubt(RoleArg::Client), None);
        assert_eq!(sound.doubt(RoleArg::Both), None);
    }
}

#[test]
fn peers_are_filtered_by_network() {
    let filter = Filter::resolve(&FilterArgs {
        host: vec!["10.0.0.0/8".into(), "2001:db8::1".into()],
        ..FilterArgs::default()
    })
    .unwrap();
    let admits = |addr: &str| {
        let addr: std::net::IpAddr = addr.parse().unwrap();
        let remote_addr = match addr {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(v6) => v6.octets(),
        };
        filter.admits(&FlowKey {
            remote_addr,
            ..FlowKey::ZERO
        })
    };
    assert!(admits("10.1.2.3"));
    assert!(admits("2001:db8::1"));
    assert!(!admits("11.1.2.3"));
    assert!(!admits("2001:db8::2"));
    assert!(
        Filter::resolve(&FilterArgs::default())
            .unwrap()
            .admits(&FlowKey::ZERO)
    );
}

#[test]
fn whole_filter_heeds_both_ports() {
    let filter = Filter::resolve(&FilterArgs {
        port: vec!["9092".into()],
        remote_port: vec!["40000-50000".into()],
        ..FilterArgs::default()
    })
    .unwrap();
    let selects = |local_port, remote_port| {
        filter.selects(&FlowKey {
            local_port,
            remote_port,
            ..FlowKey::ZERO
        })
    };
    assert!(selects(9092, 40_000));
    assert!(selects(9092, 50_000));
    assert!(!selects(9092, 39_999));
    assert!(!selects(9093, 40_000));
}

#[test]
fn bad_hosts_are_named() {
    for bad in ["10.0.0.0/33", "example.org", "10.0.0", ""] {
        let args = FilterArgs {
            host: vec![bad.into()],
            ..FilterArgs::default()
        };
        let error = Filter::resolve(&args).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("invalid value '{bad}' for --host: ")),
            "{error}"
        );
    }
}

#[test]
fn a_bad_peer_to_ignore_is_named_before_anything_is_loaded() {
    let args = run_args("tcpwnd run --ignore-peer 10.1.0.0/16,lb.example");
    let error = ignored_peers(&args.ignore).unwrap_err().to_string();
    let begin = "invalid value 'lb.example' for --ignore-peer: ";
    assert!(error.starts_with(begin), "{error}");
    assert_eq!(print_run(&args).unwrap_err().to_string(), error);
}

#[test]
fn ring_sizes_are_powers_of_two() {
    let bytes = |n: &str| ring_bytes(&run_args(&format!("tcpwnd run --ring-bytes {n}")).kernel);
    assert_eq!(bytes("4096").unwrap(), 4096);
    for bad in ["0", "4095", "2048", "12288", "2147483648"] {
        let error = bytes(bad).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("invalid value '{bad}' for --ring-bytes")),
            "{error}"
        );
    }
}

#[test]
fn recent_findings_are_bounded() {
    let findings =
        |n: &str| recent_findings(&run_args(&format!("tcpwnd run --recent-findings {n}")));
    assert_eq!(findings("1").unwrap(), 1);
    assert_eq!(findings("100000").unwrap(), 100_000);
    for bad in ["0", "100001"] {
        let error = findings(bad).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("invalid value '{bad}' for --recent-findings: ")),
            "{error}"
        );
    }
}

#[test]
fn listen_addresses() {
    assert_eq!(
        listen_addr("127.0.0.1:1").unwrap(),
        "127.0.0.1:1".parse().unwrap()
    );
    assert_eq!(listen_addr(":9").unwrap(), "[::]:9".parse().unwrap());
    for bad in ["127.0.0.1", "127.0.0.1:99999", "nonsense", ""] {
        let error = listen_addr(bad).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("invalid value '{bad}' for --listen: ")),
            "{error}"
        );
    }
}

#[test]
fn printed_configuration_resolves_to_itself() {
    let line = "tcpwnd run --port 9093,9092 --port 80 --host 10.0.0.0/8,fd00::/8 -6 --netns 7 \
                --listen :10436 --format json --mechanism kprobe --ready-file /run/x --state-file /run/y \
                --recent-findings 5 --log-limit 0 --role client --remote-port 9092 \
                --ignore-peer 10.1.0.0/16 --ignore-peer 2001:db8::1 --no-sandbox";
    let printed = print_run(&run_args(line)).unwrap();
    assert!(printed.contains("TCPWND_PORT=80,9092-9093\n"), "{printed}");
    assert!(printed.contains("TCPWND_ROLE=client\n"), "{printed}");
    let state_file = "TCPWND_STATE_FILE=/run/y\n";
    assert!(printed.contains(state_file), "{printed}");
    let ignored = "TCPWND_IGNORE_PEER=10.1.0.0/16,2001:db8::1/128\n";
    assert!(printed.contains(ignored), "{printed}");
    assert!(printed.contains("TCPWND_LISTEN=[::]:10436\n"), "{printed}");
    let values: HashMap<&str, &str> = printed
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .collect();
    // The same through the options that the variables stand for.
    let mut again = "tcpwnd run".to_owned();
    for (name, value) in values {
        let long = name
            .trim_start_matches("TCPWND_")
            .to_lowercase()
            .replace('_', "-");
        match value {
            "true" => again += &format!(" --{long}"),
            value => again += &format!(" --{long} {value}"),
        }
    }
    assert_eq!(print_run(&run_args(&again)).unwrap(), printed);
}
