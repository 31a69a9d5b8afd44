//! What a cgroup is called after: container, pod, unit. Runtimes and systemd write it into the
//! path, and into nothing else that needs no permission to be read.
//!
//! Constraint: a name is taken only where it has exactly the form that the runtime gives it. What
//! merely looks alike (the monitor of a container, a folder of the user's making) is nothing.

use serde::Serialize;

/// What the path of a cgroup says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The container.
    pub container: Option<Container>,
    /// The pod of Kubernetes.
    pub pod: Option<Pod>,
    /// The unit of systemd that is not a container's or a pod's own.
    pub unit: Option<String>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Container {
    /// `docker`, `containerd`, `crio`, `podman`; `None` where the path does not say, which is so in
    /// Kubernetes with the cgroupfs driver.
    pub runtime: Option<&'static str>,
    /// 64 hexadecimal digits.
    pub id: String,
}

/// A pod. Its name is not in the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// As in `metadata.uid`; of a static pod the hash of its manifest.
    pub uid: String,
}

/// What runtimes put before the id where systemd makes the cgroup, as a scope.
const SCOPES: [(&str, &str); 4] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("crio-", "crio"),
    ("libpod-", "podman"),
];

/// The same without systemd, or where podman splits the cgroup of a unit.
const FOLDERS: [(&str, &str); 3] = [
    ("crio-", "crio"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
];

impl Place {
    /// Reads a path, which begins with a slash. The deepest of each kind counts.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let mut place = Self::default();
        let mut above = "";
        for step in path.split('/').filter(|step| !step.is_empty()) {
            let container = container(step, above);
            let pod = pod(step).map(|uid| Pod { uid });
            if container.is_none() && pod.is_none() && is_unit(step) {
                place.unit = Some(step.to_owned());
            }
            place.container = container.or(place.container);
            place.pod = pod.or(place.pod);
            above = step;
        }
        place
    }
}

fn container(step: &str, above: &str) -> Option<Container> {
    let known = |runtime, id: &str| {
        let id = id.to_owned();
        is_id(&id).then_some(Container { runtime, id })
    };
    if let Some(scope) = step.strip_suffix(".scope") {
        return SCOPES
            .iter()
            .find_map(|(before, runtime)| known(Some(*runtime), scope.strip_prefix(before)?));
    }
    // kubepods-burstable-pod<uid>.slice:cri-containerd:<id>, which containerd makes of a slice that
    // it takes for a folder.
    if let Some((slice, rest)) = step.split_once(':') {
        let id = rest.strip_prefix("cri-containerd:")?;
        return pod(slice).and_then(|_| known(Some("containerd"), id));
    }
    let folder = FOLDERS
        .iter()
        .find_map(|(before, runtime)| known(Some(*runtime), step.strip_prefix(before)?));
    folder.or_else(|| match above {
        "docker" => known(Some("docker"), step),
        _ => pod(above).and_then(|_| known(None, step)),
    })
}

/// The pod that a step is of: `pod<uid>`, or the slice that systemd has for it, where the uid has
/// underscores in place of dashes.
fn pod(step: &str) -> Option<String> {
    let uid = match step.split(':').next()?.strip_suffix(".slice") {
        Some(slice) => {
            // Before it stands the slice that the kubelet was given, in kind for instance.
            let (root, pod) = slice.rsplit_once("kubepods-")?;
            let (class, uid) = pod.split_once("pod")?;
            if !root.is_empty() && !root.ends_with('-') {
                return None;
            }
            if !["", "burstable-", "besteffort-"].contains(&class) {
                return None;
            }
            uid.replace('_', "-")
        }
        None => step.strip_prefix("pod")?.to_owned(),
    };
    is_uid(&uid).then_some(uid)
}

/// RFC 9562, or the hash that stands for the uid of a static pod.
fn is_uid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    match text.len() {
        32 => text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        36 => text.bytes().enumerate().all(|(at, byte)| {
            if dashes.contains(&at) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        }),
        _ => false,
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Slices are no units of work, and the scopes of conmon are podman's and CRI-O's own.
fn is_unit(step: &str) -> bool {
    let name = step
        .strip_suffix(".service")
        .or_else(|| step.strip_suffix(".scope"));
    name.is_some_and(|name| {
        let monitor = ["crio-conmon-", "libpod-conmon-"];
        !name.is_empty() && !monitor.iter().any(|before| name.starts_with(before))
    })
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
