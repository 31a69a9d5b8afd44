//! The binary as a script sees it: exit codes, one line per error, quiet ends.
//!
//! Constraint: nothing here gets as far as the kernel; the laboratory's scenarios do that.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn tcpwnd(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpwnd"));
    command.args(args).env_remove("TCPWND_PORT");
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("the binary starts")
}

fn refused(args: &[&str]) -> (String, String) {
    let output = output(tcpwnd(args));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(
        stderr.starts_with("tcpwnd: ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    (stderr, String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn errors_are_one_line_and_code_2() {
    let cases: [(&[&str], &str); 5] = [
        (&["trace", "--port", "0"], "invalid value '0' for --port"),
        (&["trace", "--no-such"], "unexpected argument '--no-such'"),
        (
            &["run", "--ring-bytes", "5000"],
            "invalid value '5000' for --ring-bytes",
        ),
        (
            &["check", "--transport", "perf", "--perf-bytes", "5000"],
            "invalid value '5000' for --perf-bytes",
        ),
        (&["trace", "--netns", "/proc/self/status"], "ordinary file"),
    ];
    for (args, part) in cases {
        let (stderr, stdout) = refused(args);
        assert!(stderr.contains(part), "{part} is not in {stderr}");
        assert_eq!(stdout, "");
    }
}

#[test]
fn no_command_at_all_shows_the_help() {
    let output = output(tcpwnd(&[]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("Usage: tcpwnd")
    );
}

#[test]
fn json_mode_has_the_error_on_standard_output_too() {
    for args in [
        ["trace", "-j", "--port", "x"],
        ["trace", "-j", "--no-such", "x"],
    ] {
        let (_, stdout) = refused(&args);
        let object: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (&object["schema"], &object["kind"]),
            (&1.into(), &"error".into())
        );
        assert!(!object["error"].as_str().unwrap().is_empty());
    }
}

#[test]
fn taken_address_is_found_before_anything_is_loaded() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (stderr, _) = refused(&["run", "--listen", &addr]);
    let start = format!("tcpwnd: failed to listen on {addr}: address already in use: ");
    assert!(stderr.starts_with(&start), "{stderr}");
}

#[test]
fn help_and_version_are_no_failures() {
    for args in [["--help"], ["--version"]] {
        let output = output(tcpwnd(&args));
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn broken_pipe_ends_quietly_with_0() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = tcpwnd(&["completions", "bash"]);
    command.stdout(writer).stderr(Stdio::piped());
    let output = output(command);
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn environment_configures_run_and_nothing_else() {
    let mut run = tcpwnd(&["run", "--print-config"]);
    run.env("TCPWND_PORT", "9093,9092")
        .env("TCPWND_IPV6", "1")
        .env("TCPWND_NETNS", "");
    let printed = String::from_utf8(output(run).stdout).unwrap();
    assert!(
        printed.starts_with("TCPWND_PORT=9092-9093\nTCPWND_IPV6=true\n"),
        "{printed}"
    );
    assert!(!printed.contains("NETNS"), "{printed}");

    let mut run = tcpwnd(&["run", "--print-config", "--port", "80"]);
    run.env("TCPWND_PORT", "9092");
    let printed = String::from_utf8(output(run).stdout).unwrap();
    assert!(printed.starts_with("TCPWND_PORT=80\n"), "{printed}");

    // A variable with nonsense for trace: what is complained about is something else.
    let mut trace = tcpwnd(&["trace", "--host", "nonsense"]);
    trace.env("TCPWND_PORT", "nonsense");
    let stderr = String::from_utf8(output(trace).stderr).unwrap();
    assert!(
        stderr.contains("--host") && !stderr.contains("--port"),
        "{stderr}"
    );
}

#[test]
fn manual_pages_cover_every_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let output = output(tcpwnd(&["man", dir.path().to_str().unwrap()]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for page in [
        "tcpwnd.8",
        "tcpwnd-trace.8",
        "tcpwnd-run.8",
        "tcpwnd-btf.8",
        "tcpwnd-check.8",
    ] {
        let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}: {text}");
    }
}
