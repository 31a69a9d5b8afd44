//! What must be so of the agent's pod, whatever the chart was told.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// What a container runs.
pub struct CommandLine {
    /// After the image's entry point.
    pub arguments: Vec<String>,
    /// Names and values.
    pub environment: Vec<(String, String)>,
}

fn object<'a>(objects: &'a [Value], kind: &str) -> anyhow::Result<&'a Value> {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.with_context(|| format!("there is no {kind}"))
}

fn is(value: &Value, path: &str, expected: &Value) -> anyhow::Result<()> {
    let found = value.pointer(path).unwrap_or(&Value::Null);
    ensure!(found == expected, "{path} is {found}, not {expected}");
    Ok(())
}

/// It has these capabilities and this filter, processes, network and a folder of the host or not, and
/// nothing else that it could do without.
///
/// # Errors
///
/// What is otherwise.
pub fn is_least_privileged(
    objects: &[Value],
    capabilities: &[&str],
    seccomp: &Value,
    of_host: bool,
) -> anyhow::Result<()> {
    is(
        object(objects, "ServiceAccount")?,
        "/automountServiceAccountToken",
        &json!(false),
    )?;
    let spec = &object(objects, "DaemonSet")?["spec"]["template"]["spec"];
    is(spec, "/automountServiceAccountToken", &json!(false))?;
    is(spec, "/hostPID", &json!(of_host))?;
    is(spec, "/hostNetwork", &json!(of_host))?;
    let containers = spec["containers"].as_array().map_or(0, Vec::len);
    ensure!(containers == 1, "there are {containers} containers");
    let context = &spec["containers"][0]["securityContext"];
    is(context, "/privileged", &json!(false))?;
    is(context, "/allowPrivilegeEscalation", &json!(false))?;
    is(context, "/readOnlyRootFilesystem", &json!(true))?;
    is(context, "/seccompProfile", seccomp)?;
    is(
        context,
        "/capabilities",
        &json!({"drop": ["ALL"], "add": capabilities}),
    )?;
    let mut mounts = vec![
        json!({"name": "btf", "mountPath": "/sys/kernel/btf", "readOnly": true}),
        json!({"name": "cgroup", "mountPath": "/host/sys/fs/cgroup", "readOnly": true}),
    ];
    if of_host {
        mounts.push(json!({"name": "state", "mountPath": "/state"}));
    }
    is(&spec["containers"][0], "/volumeMounts", &json!(mounts))
}

/// Each capability has the reason for it on the line above.
///
/// # Errors
///
/// Which one has none.
pub fn explains_capabilities(manifest: &str) -> anyhow::Result<()> {
    let lines: Vec<_> = manifest.lines().map(str::trim).collect();
    let begin = lines
        .iter()
        .position(|line| *line == "add:")
        .context("adds no capability")?;
    let added = lines[begin + 1..]
        .windows(2)
        .take_while(|pair| pair[0].starts_with(['#', '-']));
    for pair in added {
        let bare = pair[0].starts_with('-') && pair[1].starts_with('-');
        ensure!(!bare, "{} has no reason above it", pair[1]);
    }
    ensure!(
        lines[begin + 1].starts_with('#'),
        "{} has no reason above it",
        lines[begin + 1]
    );
    Ok(())
}

/// DaemonSet, PodMonitor and NetworkPolicy all mean this pod and its port.
///
/// # Errors
///
/// Which one does not.
pub fn is_selected_by_all(objects: &[Value]) -> anyhow::Result<()> {
    let template = &object(objects, "DaemonSet")?["spec"]["template"];
    let labels = template["metadata"]["labels"]
        .as_object()
        .context("the pod has no labels")?;
    let selectors = [
        ("DaemonSet", "/spec/selector/matchLabels"),
        ("PodMonitor", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
    ];
    for (kind, path) in selectors {
        let selector = object(objects, kind)?
            .pointer(path)
            .and_then(Value::as_object);
        let selector = selector.with_context(|| format!("{kind} selects nothing"))?;
        let matches = selector
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value));
        ensure!(
            matches && !selector.is_empty(),
            "{kind} selects other pods: {selector:?}"
        );
    }
    let port = &template["spec"]["containers"][0]["ports"][0]["name"];
    is(
        object(objects, "PodMonitor")?,
        "/spec/podMetricsEndpoints/0/port",
        port,
    )?;
    is(
        object(objects, "NetworkPolicy")?,
        "/spec/ingress/0/ports/0/port",
        port,
    )?;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let container = &template["spec"]["containers"][0];
        is(container, &format!("/{probe}/httpGet/port"), port)?;
    }
    Ok(())
}

/// What the pod's container runs.
///
/// # Errors
///
/// When there is none, or it has neither arguments nor environment.
pub fn command_line(objects: &[Value]) -> anyhow::Result<CommandLine> {
    let container = &object(objects, "DaemonSet")?["spec"]["template"]["spec"]["containers"][0];
    let list = |key: &str| {
        container[key]
            .as_array()
            .with_context(|| format!("it has no {key}"))
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(CommandLine {
        arguments: list("args")?.iter().filter_map(text).collect(),
        environment: list("env")?
            .iter()
            .filter_map(|entry| Some((text(&entry["name"])?, text(&entry["value"])?)))
            .collect(),
    })
}
