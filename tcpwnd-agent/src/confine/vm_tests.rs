//! The confinement against whoever was root with every capability: the whole of it, and each layer by
//! itself. Runs in VMs for the kernels' sake: `cargo xtask vm agent-tests --kernel KERNEL`.

use std::sync::OnceLock;

use libc::{EACCES, EPERM};

use super::attempts::{
    Attempt, OF_ANYBODY, OF_ROOT, TO_READ, child, ended, forbid, refusal, this_process,
};
use super::{Extent, Layer, Needs, attempt, begin, capabilities, files, seccomp};

/// What a kernel can be built without, as 5.10-affected is.
const LACKED: [(&str, i32); 4] = [
    ("change how core files are written", libc::ENOENT),
    ("load a module", libc::ENOSYS),
    ("read memory of a process", libc::ENOSYS),
    ("use keys", libc::ENOSYS),
];

fn try_all(attempts: &[&[Attempt]], ready: fn(), expected: i32) {
    // Children ask later.
    of_parent("");
    for &attempt in attempts.iter().copied().flatten() {
        match refusal(|| (), attempt) {
            before if LACKED.contains(&(attempt.0, before)) => continue,
            before => assert_eq!(before, 0, "{} beforehand", attempt.0),
        }
        assert_eq!(refusal(ready, attempt), expected, "{}", attempt.0);
    }
}

fn confine() {
    this_process(Extent::Full, &Needs::default()).unwrap();
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn who_was_root_can_do_nothing_any_more() {
    try_all(&[OF_ANYBODY, OF_ROOT], confine, EPERM);
    // What root without capabilities may not know of whoever has some. 5.10 shows such processes'
    // namespaces all the same (tried there with nothing but capabilities given up; 6.1 does not).
    let [rest @ .., namespaces] = OF_OTHERS else {
        panic!()
    };
    try_all(&[rest], confine, EACCES);
    let is_5_10 = crate::kernel::release().starts_with("5.10.");
    try_all(&[&[*namespaces]], confine, if is_5_10 { 0 } else { EACCES });
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn the_filter_alone_stops_whoever_has_every_capability() {
    let confine = || {
        // SAFETY: takes numbers only; without capabilities a filter asks for this.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert!(matches!(seccomp::apply(false), Layer::InForce(_)));
    };
    try_all(&[OF_ANYBODY, OF_ROOT], confine, EPERM);
    // The other way round: it is landlock that keeps files from being read.
    try_all(&[TO_READ], confine, 0);
}

/// The attempts with these names.
fn named(names: &[&str]) -> Vec<Attempt> {
    let all = OF_ANYBODY.iter().chain(OF_ROOT).copied();
    let found: Vec<_> = all.filter(|(name, _)| names.contains(name)).collect();
    assert_eq!(found.len(), names.len());
    found
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn capabilities_alone_are_what_programs_and_modules_want() {
    let wanting = named(&["load a module", "mount", "open a raw socket"]);
    let confine = || capabilities::drop_all().unwrap();
    try_all(&[&wanting], confine, EPERM);
}

#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn landlock_alone_keeps_root_from_files_and_ports() {
    let landlock = attempt().unwrap().landlock;
    println!("landlock: {landlock}");
    let Layer::InForce(version) = landlock else {
        let release = crate::kernel::release();
        assert!(release.starts_with("5.10."), "{release}: {landlock}");
        return;
    };
    let number = version.split(' ').nth(1).unwrap();
    let version: u32 = number.parse().unwrap();
    let confine = || assert!(matches!(files::apply(None), Layer::InForce(_)));
    let on_files = named(&[
        "make a file",
        "write to a file",
        "make a folder",
        "execute a program",
        "change how core files are written",
    ]);
    try_all(&[&on_files, TO_READ], confine, EACCES);
    // Sockets from 6.7 on, signals from 6.12 on.
    try_all(
        &[&named(&["connect"])],
        confine,
        if version < 4 { 0 } else { EACCES },
    );
    let signal = named(&["signal another process"]);
    try_all(&[&signal], confine, if version < 6 { 0 } else { EPERM });
}

/// Root owns what is worth writing over. Landlock hidden is as good as a kernel without it.
#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn root_without_landlock_makes_and_renames_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["ours", "passwd"] {
        std::fs::write(path(name), name).unwrap();
    }
    let needs = Needs {
        writes: Some(folder.path().to_owned()),
    };
    let work = |user: libc::uid_t| {
        forbid(&[(libc::SYS_landlock_create_ruleset, None)], libc::ENOSYS);
        // SAFETY: takes numbers only.
        assert_eq!(unsafe { libc::setuid(user) }, 0);
        let begun = begin(Extent::Full, &needs).unwrap();
        assert_eq!(begun.forgoes_files(), user == 0);
        let confinement = begun.finish().unwrap();
        let no_state = |gap: &&String| gap.starts_with("no state is kept: ");
        let told = confinement.gaps().iter().filter(no_state).count();
        assert_eq!(told, usize::from(user == 0));
        let done = [
            std::fs::rename(path("ours"), path("passwd")),
            std::fs::remove_file(path("passwd")),
            std::fs::File::create_new(path("new")).map(drop),
        ];
        let expected = if user == 0 { EPERM } else { EACCES };
        for done in done {
            assert_eq!(done.unwrap_err().raw_os_error(), Some(expected));
        }
        0
    };
    // Another user's own permissions say where.
    for user in [0, 65_534] {
        assert_eq!(ended(child(|| work(user)).unwrap()).unwrap(), 0);
    }
    assert_eq!(std::fs::read_to_string(path("passwd")).unwrap(), "passwd");
}

/// What `who` looks at: landlock leaves what everybody may know of a process, and no more, to root
/// with every capability.
#[test]
#[ignore = "runs in a VM: cargo xtask test"]
fn landlock_leaves_names_of_other_processes_and_hides_their_descriptors() {
    if !matches!(attempt().unwrap().landlock, Layer::InForce(_)) {
        return;
    }
    let confine = || assert!(matches!(files::apply(None), Layer::InForce(_)));
    let read: &[Attempt] = &[
        ("comm", || std::fs::read(of_parent("comm")).map(drop)),
        ("cgroup", || std::fs::read(of_parent("cgroup")).map(drop)),
        ("cmdline", || std::fs::read(of_parent("cmdline")).map(drop)),
    ];
    try_all(&[read], confine, 0);
    // Newer kernels show the environment to whoever has CAP_PERFMON (may_access_mm, kernel/fork.c,
    // 6.18).
    let [_, rest @ ..] = OF_OTHERS else { panic!() };
    try_all(&[rest], confine, EACCES);
}

/// What is a process' own.
const OF_OTHERS: &[Attempt] = &[
    ("environ", || std::fs::read(of_parent("environ")).map(drop)),
    ("fd", || {
        let first = std::fs::read_dir(of_parent("fd"))?.next();
        first.map_or(Ok(()), |first| std::fs::read_link(first?.path()).map(drop))
    }),
    ("ns/net", || {
        std::fs::metadata(of_parent("ns/net")).map(drop)
    }),
];

/// A file of the process that makes the children: this one, as long as it is the first to ask.
fn of_parent(name: &str) -> String {
    static PARENT: OnceLock<u32> = OnceLock::new();
    let parent = PARENT.get_or_init(std::process::id);
    format!("/proc/{parent}/{name}")
}
