//! Paths as runtimes make them, and as others might.

use super::{Container, Place, Pod};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "8d2a7e4c-5b1f-4c3d-9e8f-0a1b2c3d4e5f";

fn of(path: &str) -> Place {
    Place::of(&path.replace("UID", UID).replace("ID", ID))
}

fn container(runtime: impl Into<Option<&'static str>>) -> Option<Container> {
    let (runtime, id) = (runtime.into(), ID.to_owned());
    Some(Container { runtime, id })
}

fn pod(uid: &str) -> Option<Pod> {
    let uid = uid.to_owned();
    Some(Pod { uid })
}

#[test]
fn pods_under_systemd() {
    let slice = UID.replace('-', "_");
    for (class, runtime, name) in [
        ("-burstable", "cri-containerd-", "containerd"),
        ("-besteffort", "crio-", "crio"),
        ("", "docker-", "docker"),
    ] {
        let path = format!("/kubepods.slice/kubepods{class}-pod{slice}.slice/{runtime}ID.scope");
        let place = of(&path);
        assert_eq!(place.container, container(name), "{path}");
        assert_eq!((place.pod, place.unit), (pod(UID), None), "{path}");
    }
    // kind, and other nodes that are containers themselves.
    let nested = of(&format!(
        "/system.slice/docker-{}.scope/kubelet.slice/kubelet-kubepods.slice/\
         kubelet-kubepods-burstable-pod{}.slice/cri-containerd-ID.scope",
        ID.replace('0', "f"),
        UID.replace('-', "_")
    ));
    assert_eq!(nested.container, container("containerd"));
    assert_eq!(nested.pod, pod(UID));
}

#[test]
fn pods_without_systemd() {
    let place = of("/kubepods/burstable/podUID/ID");
    assert_eq!((place.container, place.pod), (container(None), pod(UID)));
    let place = of("/kubepods/podUID/crio-ID");
    assert_eq!((place.container, place.pod), (container("crio"), pod(UID)));
    // A static pod's uid is a hash.
    let hash = &ID[..32];
    assert_eq!(of(&format!("/kubepods/pod{hash}/ID")).pod, pod(hash));
    let slice = UID.replace('-', "_");
    let place = of(&format!(
        "/system.slice/kubepods-burstable-pod{slice}.slice:cri-containerd:ID"
    ));
    assert_eq!(place.container, container("containerd"));
    assert_eq!(place.pod, pod(UID));
}

#[test]
fn containers_without_kubernetes() {
    for (path, runtime) in [
        ("/system.slice/docker-ID.scope", "docker"),
        ("/docker/ID", "docker"),
        ("/machine.slice/libpod-ID.scope/container", "podman"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "podman",
        ),
    ] {
        let place = of(path);
        assert_eq!(place.container, container(runtime), "{path}");
        assert_eq!(place.pod, None, "{path}");
    }
    let split = of("/system.slice/kafka.service/libpod-payload-ID");
    assert_eq!(split.container, container("podman"));
    assert_eq!(split.unit.as_deref(), Some("kafka.service"));
}

#[test]
fn units_are_the_deepest_ones() {
    for (path, unit) in [
        ("/system.slice/kafka.service", Some("kafka.service")),
        (
            "/system.slice/system-kafka.slice/kafka@1.service",
            Some("kafka@1.service"),
        ),
        (
            "/user.slice/user-0.slice/session-3.scope",
            Some("session-3.scope"),
        ),
        (
            "/user.slice/user-1.slice/user@1.service/app.slice/kafka.service/child",
            Some("kafka.service"),
        ),
        ("/user.slice", None),
        ("/", None),
        ("", None),
        ("/.service", None),
    ] {
        let place = of(path);
        assert_eq!(place.unit.as_deref(), unit, "{path}");
        assert_eq!((place.container, place.pod), (None, None), "{path}");
    }
}

#[test]
fn what_looks_alike_is_nothing() {
    for path in [
        "/system.slice/docker-0123456789ab.scope",
        "/machine.slice/libpod-conmon-ID.scope",
        "/system.slice/crio-conmon-ID.scope",
        "/ID",
        "/home/ID",
        "/docker/IDff",
        "/docker/buildx",
        "/podcast/ID",
        "/kubepods/pod123/ID",
        "/system.slice/evil-cri-containerd-ID.scope",
        "/kubepods.slice/evilkubepods-pod8d2a7e4c_5b1f_4c3d_9e8f_0a1b2c3d4e5f.slice/x",
        "/kubepods.slice/kubepods-evil-pod8d2a7e4c_5b1f_4c3d_9e8f_0a1b2c3d4e5f.slice/x",
        "/evil.slice:cri-containerd:ID",
    ] {
        let place = of(path);
        assert_eq!((place.container, place.pod), (None, None), "{path}");
    }
}
