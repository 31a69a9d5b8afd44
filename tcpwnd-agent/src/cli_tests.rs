//! What clap makes of command lines.

use std::ffi::OsString;

use super::{
    Cli, Command, FailOn, RoleArg, ScanFailOn, TraceArgs, command, env_name, one_line, parse,
    wants_json,
};

fn cli(line: &str) -> Result<Cli, clap::Error> {
    parse(line.split_whitespace().map(OsString::from))
}

fn trace(line: &str) -> TraceArgs {
    match cli(line).unwrap().command {
        Command::Trace(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn definition_is_consistent() {
    command().debug_assert();
}

#[test]
fn trace_options_of_a_restart_script() {
    let args = trace("tcpwnd trace --port 9092,9093-9099 --for 2m --fail-on mismatch,any -j -4");
    assert_eq!(args.filter.port, ["9092", "9093-9099"]);
    assert_eq!(*args.duration.unwrap(), std::time::Duration::from_secs(120));
    assert_eq!(args.fail_on, [FailOn::Mismatch, FailOn::Any]);
    assert!(args.json && args.filter.ipv4);
}

#[test]
fn role_is_the_accepting_side_unless_asked_for() {
    assert_eq!(trace("tcpwnd trace").role.role, RoleArg::Server);
    let args = trace("tcpwnd trace --role client --remote-port 9092");
    assert_eq!(args.role.role, RoleArg::Client);
    assert_eq!(args.filter.remote_port, ["9092"]);
    assert_eq!(trace("tcpwnd trace --role both").role.role, RoleArg::Both);
    assert!(cli("tcpwnd trace --role peer").is_err());
    assert_eq!(env_name("role").as_deref(), Some("TCPWND_ROLE"));
}

#[test]
fn peers_to_ignore_are_named_with_trace_and_run_only() {
    let args = trace("tcpwnd trace --ignore-peer 10.1.0.0/16 --ignore-peer ::1,10.2.0.1");
    assert_eq!(args.ignore.ignore_peer, ["10.1.0.0/16", "::1", "10.2.0.1"]);
    assert!(cli("tcpwnd run --ignore-peer 10.1.0.0/16").is_ok());
    // A scan knows nothing of what peers offered.
    assert!(cli("tcpwnd scan --ignore-peer 10.1.0.0/16").is_err());
    let name = env_name("ignore-peer");
    assert_eq!(name.as_deref(), Some("TCPWND_IGNORE_PEER"));
}

#[test]
fn confirm_is_on_unless_switched_off() {
    assert!(trace("tcpwnd trace").confirm);
    assert!(trace("tcpwnd trace --confirm").confirm);
    assert!(!trace("tcpwnd trace --confirm=false").confirm);
}

#[test]
fn scan_watches_only_where_it_is_asked_to() {
    let scan = |line| match cli(line).unwrap().command {
        Command::Scan(args) => args,
        other => panic!("{other:?}"),
    };
    let args = scan("tcpwnd scan --port 9092 -j");
    assert!(!args.confirm && args.json);
    let args = scan("tcpwnd scan --confirm --fail-on mismatch,any");
    assert_eq!(*args.duration, std::time::Duration::from_secs(60));
    assert_eq!(args.fail_on, [ScanFailOn::Mismatch, ScanFailOn::Any]);
    for line in ["tcpwnd scan --for 5s", "tcpwnd scan --ready-file x"] {
        let error = cli(line).unwrap_err();
        assert!(one_line(&error).contains("--confirm"), "{error}");
    }
}

#[test]
fn of_an_option_given_twice_the_last_counts_and_lists_add_up() {
    let args = trace("tcpwnd trace --for 1s --for 2s --min-handshakes 1 --min-handshakes 2");
    assert_eq!(*args.duration.unwrap(), std::time::Duration::from_secs(2));
    assert_eq!(args.min_handshakes, 2);
    let args = trace("tcpwnd trace --port 80 --port 81 --fail-on any --fail-on mismatch");
    assert_eq!(args.filter.port, ["80", "81"]);
    assert_eq!(args.fail_on, [FailOn::Any, FailOn::Mismatch]);
}

#[test]
fn usage_errors_are_one_line() {
    for line in [
        "tcpwnd trace --fail-on sometimes",
        "tcpwnd trace --for soon",
        "tcpwnd trace --prot 9092",
        "tcpwnd trace -j --format json",
        "tcpwnd trace --ring-bytes -1",
        "tcpwnd frobnicate",
        "tcpwnd trace extra",
        "tcpwnd completions",
    ] {
        let text = one_line(&cli(line).unwrap_err());
        assert!(!text.contains('\n') && !text.starts_with("error"), "{text}");
        assert!(text.ends_with("(see --help)") && text.len() > 30, "{text}");
    }
    let text = one_line(&cli("tcpwnd trace --fail-on sometimes").unwrap_err());
    assert!(
        text.contains("'sometimes'") && text.contains("scale-lost"),
        "{text}"
    );
}

#[test]
fn json_is_recognised_where_parsing_failed() {
    let json = |line: &str| {
        wants_json(
            &line
                .split_whitespace()
                .map(OsString::from)
                .collect::<Vec<_>>(),
        )
    };
    assert!(json("tcpwnd trace -j --bad"));
    assert!(json("tcpwnd trace --format json --bad"));
    assert!(json("tcpwnd trace --format=json --bad"));
    assert!(!json("tcpwnd trace --format table --bad"));
}

#[test]
fn only_run_reads_the_environment() {
    let command = command();
    let env_of = |name: &str| {
        let sub = command.find_subcommand(name).unwrap();
        let port = sub
            .get_arguments()
            .find(|arg| arg.get_long() == Some("port"))
            .unwrap();
        port.get_env().map(|env| env.to_string_lossy().into_owned())
    };
    assert_eq!(env_of("run").as_deref(), Some("TCPWND_PORT"));
    assert_eq!(env_of("trace"), None);
    assert_eq!(env_name("ring-bytes").as_deref(), Some("TCPWND_RING_BYTES"));
}
