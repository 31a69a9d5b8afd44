//! The scripts for rolling restarts. The laboratory runs the one for the shell against real agents
//! (scenario `restart_gate`); what the one for Strimzi asks of a cluster is answered by what is written here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use anyhow::{Context, ensure};

use super::{Answer, file};
use crate::setup::scripts;

const SCRIPTS: [&str; 2] = ["rolling-restart.sh", "strimzi.sh"];

/// Stands for kubectl: writes down what it is asked, and answers as a cluster would in which pods
/// are rolled at once (another uid each time) and no connection is damaged.
const KUBECTL: &str = r#"#!/bin/sh
echo "$*" >>"${0%/*}/calls"
case $* in
*.spec.nodeName*) echo node-7 ;;
*.items*) echo tcpwnd-x ;;
*.metadata.uid*) wc -l <"${0%/*}/calls" ;;
*--raw*) echo '{"schema":1,"kind":"findings","verdict":"clean","handshakes_judged":1,
    "damaged_open":0,"reasons":[],"now":"2026-01-31T12:00:00Z"}' ;;
esac
"#;

/// What the script asks of kubectl for one pod, in this order.
const CALLS: [&str; 8] = [
    "-n kafka get pod b-0 -o jsonpath={.spec.nodeName}",
    "-n tcpwnd get pod -l app.kubernetes.io/name=tcpwnd --field-selector \
     spec.nodeName=node-7,status.phase=Running -o jsonpath={.items[0].metadata.name}",
    "get --raw /api/v1/namespaces/tcpwnd/pods/tcpwnd-x:10435/proxy/api/v1/findings\
     ?port=9092&since=0s&limit=0",
    "-n kafka get pod/b-0 -o jsonpath={.metadata.uid}",
    "-n kafka annotate --overwrite pod/b-0 strimzi.io/manual-rolling-update=true",
    "-n kafka wait --for=delete --timeout=15m pod/b-0",
    "-n kafka get pod/b-0 -o jsonpath={.metadata.uid}",
    "-n kafka wait --for=condition=Ready --timeout=15m pod/b-0",
];

/// shellcheck has nothing to say.
pub fn shell() -> anyhow::Result<Answer> {
    let folder = file("rolling-restart");
    let output = Command::new(scripts::ensure()?.shellcheck)
        .args(SCRIPTS.map(|script| folder.join(script)))
        .output()
        .context("cannot run shellcheck")?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(Answer::Held)
}

/// The script for Strimzi asks of kubectl what it should.
pub fn strimzi() -> anyhow::Result<Answer> {
    let folder = tempfile::tempdir()?;
    let kubectl = folder.path().join("kubectl");
    fs::write(&kubectl, KUBECTL)?;
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755))?;
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .arg(file("rolling-restart").join("strimzi.sh"))
        .args(["-s", "0", "b-0"])
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env_remove("KAFKA_NAMESPACE")
        .env_remove("TCPWND_NAMESPACE")
        .env_remove("ROLL_TIMEOUT")
        .output()
        .context("cannot run sh")?;
    ensure!(output.status.success(), "{}", said(&output));
    let calls = fs::read_to_string(folder.path().join("calls"))?;
    let first: Vec<&str> = calls.lines().take(CALLS.len()).collect();
    ensure!(first == CALLS, "it asked of kubectl: {calls}");
    let last = calls.lines().last().unwrap_or_default();
    ensure!(
        last.ends_with("?port=9092&since=2026-01-31T12:00:00Z&limit=0"),
        "it did not ask at last about the time since the restart: {calls}"
    );
    Ok(Answer::Held)
}

fn said(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}
