//! The Helm chart, as Helm renders it and Kubernetes would take it, and the manifest made of it.

use std::fs;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::pod::{self, CommandLine};
use super::{Answer, file};
use crate::command;
use crate::paths;
use crate::setup::chart;

const CHART: &str = "helm/tcpwnd";
const MANIFEST: &str = "kubernetes/tcpwnd.yaml";

/// The oldest version that Chart.yaml allows, and the newest whose schemas there are.
const VERSIONS: [&str; 2] = ["1.25", "1.37"];

/// What Helm calls a warning; below are recommendations.
const WARNING: u64 = 2;

const HEADER: &str = "\
# Written by `cargo xtask deploy render` from the chart in deploy/helm/tcpwnd, which has options.
# Put your image in, then:
#
#   kubectl create namespace tcpwnd
#   kubectl label namespace tcpwnd pod-security.kubernetes.io/enforce=privileged
#   kubectl apply -f tcpwnd.yaml
";

/// What chart.py prints.
#[derive(Deserialize)]
struct Rendered {
    findings: Vec<Finding>,
    manifest: String,
    /// What Helm tells who has installed it.
    notes: String,
    objects: Vec<Value>,
}

#[derive(Deserialize)]
struct Finding {
    severity: u64,
    path: String,
    error: String,
}

/// Everything that the chart can be told, with words that nothing else says.
fn everything() -> Value {
    json!({
        "image": {"repository": "marked-image", "tag": "marked-tag", "pullPolicy": "Never"},
        "imagePullSecrets": [{"name": "marked-secret"}],
        "env": {"TCPWND_PORT": "9092", "TCPWND_FORMAT": "json"},
        "metricsPort": 10999,
        "capabilities": {"sysAdmin": true, "sysResource": true},
        "seccompProfile": {"type": "Localhost", "localhostProfile": "marked-profile.json"},
        "hostPID": true,
        "hostNetwork": true,
        "stateHostPath": "/marked-state",
        "resources": {"limits": {"memory": "333Mi"}},
        "tolerations": [{"key": "marked-toleration", "operator": "Exists"}],
        "nodeSelector": {"marked-node": "yes"},
        "priorityClassName": "marked-priority",
        "podAnnotations": {"marked-annotation": "a"},
        "podLabels": {"marked-label": "b"},
        "podMonitor": {"enabled": true, "interval": "77s", "labels": {"marked-monitor": "c"}},
        "networkPolicy": {"enabled": true, "from": [{"podSelector": {"matchLabels": {"marked": "d"}}}]},
    })
}

/// What the notes have to tell, for the release and the namespace that chart.py renders.
const TOLD: [&str; 4] = [
    "kubectl -n tcpwnd get pods -l app.kubernetes.io/instance=tcpwnd ",
    "kubectl -n tcpwnd logs -f ds/tcpwnd\n",
    "kubectl -n tcpwnd exec ds/tcpwnd -- /tcpwnd trace ",
    "`/tcpwnd check`",
];

/// With nothing said: what most will run.
pub fn defaults() -> anyhow::Result<Answer> {
    let rendered = sound(&json!({}))?;
    let kinds = kinds(&rendered);
    ensure!(
        kinds == ["DaemonSet", "ServiceAccount"],
        "rendered {kinds:?}"
    );
    let seccomp = json!({"type": "RuntimeDefault"});
    pod::is_least_privileged(&rendered.objects, &["BPF", "PERFMON"], &seccomp, false)?;
    for told in TOLD {
        ensure!(rendered.notes.contains(told), "NOTES.txt lacks {told}");
    }
    pod::explains_capabilities(&rendered.manifest)?;
    Ok(Answer::Held)
}

/// With everything said that can be.
pub fn all_options() -> anyhow::Result<Answer> {
    let values = everything();
    let rendered = sound(&values)?;
    let kinds = kinds(&rendered);
    let expected = ["DaemonSet", "NetworkPolicy", "PodMonitor", "ServiceAccount"];
    ensure!(kinds == expected, "rendered {kinds:?}");
    let capabilities = ["BPF", "PERFMON", "SYS_ADMIN", "SYS_RESOURCE"];
    let seccomp = &values["seccompProfile"];
    pod::is_least_privileged(&rendered.objects, &capabilities, seccomp, true)?;
    pod::explains_capabilities(&rendered.manifest)?;
    pod::is_selected_by_all(&rendered.objects)?;
    for word in words(&values) {
        ensure!(
            rendered.manifest.contains(&word),
            "the chart has no use for {word}"
        );
    }
    Ok(Answer::Held)
}

/// A misspelt option is refused.
pub fn misspelt() -> anyhow::Result<Answer> {
    for values in [json!({"prot": "9092"}), json!({"env": {"PORT": "9092"}})] {
        match render(&values) {
            Ok(_) => bail!("{values} is taken"),
            Err(error) => {
                let error = format!("{error:#}");
                ensure!(error.contains("HelmValuesError"), "{error}");
            }
        }
    }
    Ok(Answer::Held)
}

/// The manifest is what the chart renders.
pub fn manifest() -> anyhow::Result<Answer> {
    let kept = fs::read_to_string(file(MANIFEST)).with_context(|| format!("read {MANIFEST}"))?;
    ensure!(
        kept == made()?,
        "{MANIFEST} is not what the chart renders: cargo xtask deploy render"
    );
    Ok(Answer::Held)
}

/// Writes the manifest.
///
/// # Errors
///
/// When the chart cannot be rendered or the file not be written.
pub fn write_manifest() -> anyhow::Result<()> {
    fs::write(file(MANIFEST), made()?).with_context(|| format!("write {MANIFEST}"))
}

fn made() -> anyhow::Result<String> {
    Ok(HEADER.to_owned() + &render(&json!({}))?.manifest)
}

/// What the pod runs when everything is said.
///
/// # Errors
///
/// When the chart cannot be rendered, or has no container.
pub fn command_line() -> anyhow::Result<CommandLine> {
    pod::command_line(&render(&everything())?.objects)
}

/// Renders, lints and validates.
fn sound(values: &Value) -> anyhow::Result<Rendered> {
    let rendered = render(values)?;
    for Finding {
        severity,
        path,
        error,
    } in &rendered.findings
    {
        ensure!(*severity < WARNING, "helm lint --strict: {path}: {error}");
    }
    let version = json!(env!("CARGO_PKG_VERSION"));
    for object in &rendered.objects {
        let label = &object["metadata"]["labels"]["app.kubernetes.io/version"];
        ensure!(
            *label == version,
            "{}: the version is {label}",
            object["kind"]
        );
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("objects.yaml");
    // Of the Prometheus Operator there is no schema; its selectors are looked at.
    let known = rendered
        .objects
        .iter()
        .filter(|object| object["kind"] != "PodMonitor");
    let documents: Vec<_> = known.map(Value::to_string).collect();
    fs::write(&path, documents.join("\n---\n"))?;
    for version in VERSIONS {
        let validate = chart::ensure()?.validate;
        let mut command = Command::new(validate);
        command.args(["--strict", "--kubernetes-version", version]);
        let output = command
            .arg(&path)
            .output()
            .context("cannot run kubernetes-validate")?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        let passed = said.matches(" passed for resource ").count();
        ensure!(passed == documents.len(), "Kubernetes {version}: {said}");
    }
    Ok(rendered)
}

fn render(values: &Value) -> anyhow::Result<Rendered> {
    let printed = command::output(
        Command::new(chart::ensure()?.python)
            .arg(paths::workspace().join("xtask/chart/chart.py"))
            .arg(file(CHART))
            .arg(values.to_string()),
    )?;
    serde_json::from_str(&printed).context("chart.py prints something else")
}

fn kinds(rendered: &Rendered) -> Vec<&str> {
    let objects = rendered.objects.iter();
    let mut kinds: Vec<_> = objects
        .filter_map(|object| object["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds
}

/// Every text and number in some values, and what is marked among their keys.
fn words(values: &Value) -> Vec<String> {
    match values {
        Value::Object(map) => {
            let marked = map.keys().filter(|key| key.starts_with("marked"));
            marked
                .cloned()
                .chain(map.values().flat_map(words))
                .collect()
        }
        Value::Array(list) => list.iter().flat_map(words).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(_) | Value::Null => Vec::new(),
    }
}
