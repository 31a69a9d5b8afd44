//! The playbook for rolling restarts, played by Ansible: what it asks of agents and of the service manager
//! is answered by what is written here, since there are no hosts to restart brokers on.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Answer, file};
use crate::setup::scripts;

const PLAYBOOK: &str = "rolling-restart/ansible.yml";

/// The names that Ansible has for what restarts services.
const MANAGERS: [&str; 4] = ["openwrt_init", "service", "systemd", "sysvinit"];

/// The time of the agents.
const NOW: &str = "2026-01-31T12:00:00Z";

/// The first broker is damaged and heals. Of the second one events are lost after its restart, which ends
/// the play: the third one is not asked about.
const HALF_WAY: [(&str, &str, &str); 5] = [
    ("first", "since=0s", "clean"),
    ("first", NOW, "damaged"),
    ("first", NOW, "healed"),
    ("second", "since=0s", "clean"),
    ("second", NOW, "inconclusive"),
];

/// What is known to be inconclusive before anything was done.
const AT_ONCE: [(&str, &str, &str); 1] = [("first", "since=0s", "inconclusive")];

/// Ansible restarts one broker after the other, and stops where it should.
pub fn playbook() -> anyhow::Result<Answer> {
    let (asked, restarted, said) = play(&["first", "second", "third"], &HALF_WAY)?;
    ensure!(asked == HALF_WAY.len(), "{asked} questions: {said}");
    ensure!(
        restarted == "kafka at first restarted\nkafka at second restarted\n",
        "the service manager was asked: {restarted}"
    );
    ensure!(said.contains("inconclusive: 2 events"), "{said}");
    let (asked, restarted, said) = play(&["first"], &AT_ONCE)?;
    ensure!(asked == AT_ONCE.len(), "{asked} questions: {said}");
    ensure!(restarted.is_empty(), "restarted all the same: {restarted}");
    Ok(Answer::Held)
}

/// Plays it for these hosts, and expects it to fail; returns how many questions the agents were asked,
/// what the service manager was, and what Ansible said.
fn play(
    hosts: &[&str],
    answers: &'static [(&str, &str, &str)],
) -> anyhow::Result<(usize, String, String)> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on 127.0.0.1")?;
    let agents = listener.local_addr()?;
    let over = AtomicBool::new(false);
    let (asked, output) = thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, answers, &over));
        let output = run(folder.path(), hosts, &format!("http://{agents}"));
        over.store(true, Ordering::Release);
        // So that it looks.
        drop(TcpStream::connect(agents));
        (server.join(), output)
    });
    let asked = asked.ok().context("the agents' stand-in panicked")??;
    let output = output?;
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.code() == Some(2), "{}: {said}", output.status);
    let restarted = fs::read_to_string(folder.path().join("restarted")).unwrap_or_default();
    Ok((asked, restarted, said))
}

/// Runs Ansible on this machine in place of each host; `folder` has what it needs.
fn run(folder: &Path, hosts: &[&str], agents: &str) -> anyhow::Result<Output> {
    let manager = format!(
        "from ansible.module_utils.basic import AnsibleModule\n\
         module = AnsibleModule(argument_spec=dict(name=dict(), state=dict()))\n\
         with open({:?}, 'a') as file:\n\
         \x20   print(module.params['name'], module.params['state'], file=file)\n\
         module.exit_json(changed=True)\n",
        folder.join("restarted")
    );
    for name in MANAGERS {
        fs::write(folder.join(name).with_extension("py"), &manager)?;
    }
    let inventory = folder.join("inventory");
    fs::write(&inventory, format!("[kafka]\n{}\n", hosts.join("\n")))?;
    let settings = json!({
        "ansible_become": false,
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "kafka_service": "kafka at {{ inventory_hostname }}",
        "tcpwnd_findings": format!("{agents}/{{{{ inventory_hostname }}}}"),
        "tcpwnd_settle": 0,
    });
    Command::new(scripts::ensure()?.ansible_playbook)
        .arg("--inventory")
        .args([&inventory, &file(PLAYBOOK)])
        .args(["--extra-vars", &settings.to_string()])
        .env("ANSIBLE_HOME", folder)
        .env("ANSIBLE_LIBRARY", folder)
        .env("ANSIBLE_REMOTE_TEMP", folder)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("http_proxy")
        .output()
        .context("cannot run ansible-playbook")
}

/// Answers one question after the other, each as it should be asked; returns how many there were.
fn serve(
    listener: &TcpListener,
    answers: &[(&str, &str, &str)],
    over: &AtomicBool,
) -> anyhow::Result<usize> {
    let mut asked = 0;
    loop {
        let (mut stream, _) = listener.accept()?;
        if over.load(Ordering::Acquire) {
            return Ok(asked);
        }
        let mut lines = BufReader::new(&stream).lines();
        let question = lines.next().context("no question")??;
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let (host, since, verdict) = answers
            .get(asked)
            .with_context(|| format!("one question too many: {question}"))?;
        let begin = format!("GET /{host}?port=9092&");
        ensure!(
            question.starts_with(&begin) && question.contains(since),
            "asked {question} instead of {begin} with {since}"
        );
        let body = answer(verdict).to_string();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )?;
        asked += 1;
    }
}

/// What the playbook reads of an agent's answer (docs/http.md).
fn answer(verdict: &str) -> Value {
    let reasons = match verdict {
        "inconclusive" => json!([{"code": "events_lost", "text": "2 events were lost"}]),
        _ => json!([]),
    };
    json!({
        "schema": 1,
        "kind": "findings",
        "verdict": verdict,
        "handshakes_judged": 3,
        "reasons": reasons,
        "now": NOW,
    })
}
