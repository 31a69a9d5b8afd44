//! The confinement on this machine's own kernel, without privileges. What takes them is in
//! `vm_tests`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use libc::{EACCES, EPERM, c_int, c_long};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::attempts::{
    OF_ANYBODY, TO_READ, child, child_with, ended, forbid, has_landlock, listener, refusal,
    this_process,
};
use super::{Error, Extent, Layer, Needs, attempt, begin, is_filtered, is_root};
use crate::host::process::Process;
use crate::output::exposition::Family;
use crate::output::http::{self, Pages};
use crate::state::Keeper;
use crate::testing;

/// Confines this process, a child that may do nothing wrong before.
fn confine() {
    this_process(Extent::Full, &Needs::default()).unwrap();
}

#[test]
fn what_anybody_may_do_run_may_not() {
    for &attempt in OF_ANYBODY {
        match refusal(|| (), attempt) {
            // In a container not everybody may do everything.
            before @ (EPERM | libc::ENOSYS) if is_filtered() => {
                println!("{}: not to be had here: {before}", attempt.0);
                continue;
            }
            before => assert_eq!(before, 0, "{} beforehand", attempt.0),
        }
        assert_eq!(refusal(confine, attempt), EPERM, "{}", attempt.0);
    }
}

#[test]
fn other_files_cannot_be_read_where_there_is_landlock() {
    let landlock = attempt().unwrap().landlock;
    assert_eq!(landlock.holds(), has_landlock(), "{landlock}");
    let expected = if has_landlock() { EACCES } else { 0 };
    for &attempt in TO_READ {
        assert_eq!(refusal(|| (), attempt), 0, "{} beforehand", attempt.0);
        assert_eq!(refusal(confine, attempt), expected, "{}", attempt.0);
    }
}

#[test]
fn a_file_in_the_folder_that_was_named_can_be_written_anew() {
    if is_root() && !has_landlock() {
        // It cannot then: `vm_tests`.
        return;
    }
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("useless"), "").unwrap();
    let needs = Needs {
        writes: Some(folder.path().to_owned()),
    };
    let code = ended(
        child(|| {
            this_process(Extent::Full, &needs).unwrap();
            let new = folder.path().join("new");
            let mut file = std::fs::File::create_new(&new).unwrap();
            file.write_all(b"x").unwrap();
            std::fs::rename(new, folder.path().join("old")).unwrap();
            // What is there is not written over, wherever it is.
            for there in [folder.path().join("old"), "/proc/self/comm".into()] {
                let refused = std::fs::File::create(there).unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(EPERM));
            }
            std::fs::remove_file(folder.path().join("useless")).unwrap();
            let beside = std::fs::File::create_new(elsewhere.path().join("new"));
            beside.map_or_else(|error| error.raw_os_error().unwrap(), |_| 0)
        })
        .unwrap(),
    );
    assert_eq!(code.unwrap(), if has_landlock() { EACCES } else { 0 });
    assert_eq!(std::fs::read(folder.path().join("old")).unwrap(), b"x");
}

#[test]
fn the_state_file_is_kept_and_locked() {
    if is_root() && !has_landlock() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let code = ended(
        child(|| {
            let mut keeper = Keeper::open(&path).unwrap();
            let mut engine = testing::engine();
            keeper.take_over(&mut engine, testing::SINCE_NS, |_, _| true);
            let needs = Needs {
                writes: Some(keeper.folder().to_owned()),
            };
            this_process(Extent::Full, &needs).unwrap();
            keeper.check(&mut engine);
            keeper.save(engine.flows(), testing::SINCE_NS, true);
            assert_eq!(keeper.numbers().errors, 0, "{:?}", keeper.lines());
            0
        })
        .unwrap(),
    );
    assert_eq!(code.unwrap(), 0);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"stopped\":true"), "{text}");
    // It goes with who had it, and the file stays for the next one.
    assert_eq!(Keeper::open(&path).unwrap().lines(), [""; 0]);
}

#[test]
fn who_forgoes_files_leaves_none_to_the_next_agent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let mut keeper = Keeper::open(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    keeper.stop_writing();
    assert!(!path.exists());
    keeper.save(crate::testing::engine().flows(), 0, true);
    assert!(!path.exists());
    assert_eq!(keeper.numbers().errors, 1);
}

/// Whatever `run` does from here on, apart from what its pages do.
#[test]
fn ordinary_work_goes_on() {
    let (listener, address) = listener();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let work = || {
        let notify = std::os::unix::net::UnixDatagram::unbound().unwrap();
        notify.connect(&path).unwrap();
        confine();
        let process = Process::read();
        assert!(process.open_fds.is_some() && process.max_fds.is_some());
        assert!(process.start_time.is_some() && process.cpu_seconds.is_some());
        assert_ne!(crate::kernel::release(), "unknown");
        assert!(crate::host::cgroups::of_process(std::process::id()).is_some());
        for mount in crate::host::cgroups::mounts() {
            std::fs::read_dir(mount).unwrap();
        }
        std::fs::read_dir("/run").unwrap();
        let sum: u64 = vec![1_u8; 64 << 20].iter().map(|&n| u64::from(n)).sum();
        assert_eq!(sum, 64 << 20);
        std::thread::sleep(std::time::Duration::from_millis(1));
        notify.send(b"READY=1").unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"pong").unwrap();
        0
    };
    let pid = child_with(&[listener.as_fd()], work).unwrap();
    let mut text = String::new();
    let mut client = TcpStream::connect(address).unwrap();
    let read = client.read_to_string(&mut text);
    assert_eq!(ended(pid).unwrap(), 0);
    read.unwrap();
    assert_eq!(text, "pong");
    assert_eq!(manager.recv(&mut [0; 16]).unwrap(), 7);
}

/// Pages without content.
struct Empty;

impl Pages for Empty {
    fn metrics(&self) -> Vec<Family> {
        Vec::new()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = bool>>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            true
        })
    }

    fn findings(&self, _query: &str, settled: bool) -> Result<String, String> {
        Ok(settled.to_string())
    }
}

/// Until SIGTERM comes.
async fn serve(listener: TcpListener) {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    confine();
    let (stop, stopped) = watch::channel(false);
    let pages = http::serve(listener, Rc::new(Empty), Rc::default(), stopped);
    let server = tokio::task::spawn_local(pages);
    terminate.recv().await;
    stop.send(true).unwrap();
    server.await.unwrap().unwrap();
}

#[test]
fn pages_are_served_until_a_signal_comes() {
    let listener = http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let pid = child_with(&[listener.as_fd()], || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let listener = listener.try_clone().unwrap();
        LocalSet::new().block_on(&runtime, serve(listener));
        0
    });
    let pid = pid.unwrap();
    let get = |path: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        write!(
            client,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).map(|_| text)
    };
    let pages = ["/", "/metrics", "/readyz", "/api/v1/findings"].map(get);
    // SAFETY: takes numbers only; the child has not been waited for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    assert_eq!(ended(pid).unwrap(), 0);
    for page in pages {
        let page = page.unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    }
}

#[test]
fn what_aborts_ends_with_the_signal_that_says_so() {
    let pid = child(|| {
        confine();
        std::process::abort()
    });
    assert_eq!(ended(pid.unwrap()).unwrap(), 1000 + libc::SIGABRT);
}

#[test]
fn a_process_with_threads_is_not_confined_by_halves() {
    let error = this_process(Extent::Full, &Needs::default()).unwrap_err();
    assert!(matches!(error, Error::Threads(2..)), "{error}");
    assert!(error.to_string().ends_with("(or use --no-sandbox)"));
    // Who did so has threads for a reason.
    let without = || this_process(Extent::Capabilities, &Needs::default()).map(|_| ());
    std::thread::spawn(without).join().unwrap().unwrap();
}

#[test]
fn what_cannot_be_counted_is_not_called_threads() {
    let pid = child(|| {
        forbid(&[(libc::SYS_openat, None)], EACCES);
        let error = begin(Extent::Full, &Needs::default()).unwrap_err();
        let expected = "failed to confine this process: /proc/self/task cannot be read: permission \
                        denied (or use --no-sandbox)";
        assert_eq!(error.to_string(), expected);
        0
    });
    assert_eq!(ended(pid.unwrap()).unwrap(), 0);
}

/// As at a limit on processes, which root does not heed.
#[test]
fn an_attempt_without_a_thread_is_an_error_and_no_panic() {
    let pid = child(|| {
        let calls = [(libc::SYS_clone, None), (libc::SYS_clone3, None)];
        forbid(&calls, libc::EAGAIN);
        let error = attempt().unwrap_err();
        assert!(matches!(error, Error::Attempt(_)), "{error}");
        0
    });
    assert_eq!(ended(pid.unwrap()).unwrap(), 0);
}

#[test]
fn an_attempt_leaves_nothing_behind() {
    let before = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let confinement = attempt().unwrap();
    println!("{confinement} {:?}", confinement.gaps());
    let after = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    for name in ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp:"] {
        let of = |text: &str| {
            text.lines()
                .find(|l| l.starts_with(name))
                .map(str::to_owned)
        };
        assert_eq!(of(&before), of(&after));
    }
}

/// What comes of an attempt where somebody else forbids this.
fn attempt_without(calls: &'static [(c_long, Option<c_int>)], errno: i32) -> super::Confinement {
    let thread = std::thread::spawn(move || {
        forbid(calls, errno);
        attempt().unwrap()
    });
    thread.join().unwrap()
}

/// prctl(PR_SET_SECCOMP).
const OLD_WAY: (c_long, Option<c_int>) = (libc::SYS_prctl, Some(libc::PR_SET_SECCOMP));

/// As a container engine whose profile is older than landlock.
#[test]
fn what_somebody_else_forbids_is_told_from_what_is_not_there() {
    const CALLS: &[(c_long, Option<c_int>)] = &[
        (libc::SYS_seccomp, None),
        OLD_WAY,
        (libc::SYS_landlock_create_ruleset, None),
    ];
    let found = attempt_without(CALLS, EPERM);
    assert!(matches!(found.seccomp, Layer::Forbidden(_)), "{found:?}");
    assert!(matches!(found.landlock, Layer::Forbidden(_)), "{found:?}");
    assert_eq!(found.to_string(), "no capabilities, no_new_privs");
    assert_eq!(found.gaps().len(), 2);
    let found = attempt_without(CALLS, libc::ENOSYS);
    // The one that forbids it is a filter.
    assert!(matches!(found.seccomp, Layer::Forbidden(_)), "{found:?}");
    let Layer::Absent(why) = found.landlock else {
        panic!("{found:?}");
    };
    assert!(why.ends_with("or a seccomp filter hides it"), "{why}");
}

/// As a profile that knows some of landlock's calls only.
#[test]
fn landlock_that_is_forbidden_halfway_is_not_broken() {
    const LAST: &[(c_long, Option<c_int>)] = &[(libc::SYS_landlock_restrict_self, None)];
    const MIDDLE: &[(c_long, Option<c_int>)] = &[(libc::SYS_landlock_add_rule, None)];
    if !has_landlock() {
        return;
    }
    for (calls, errno) in [(LAST, EPERM), (LAST, libc::ENOSYS), (MIDDLE, libc::ENOSYS)] {
        let found = attempt_without(calls, errno);
        assert!(matches!(found.landlock, Layer::Forbidden(_)), "{found:?}");
        found.check().unwrap();
    }
    let found = attempt_without(LAST, libc::E2BIG);
    assert!(matches!(found.landlock, Layer::Broken(_)), "{found:?}");
}

#[test]
fn where_the_newer_call_is_forbidden_the_older_one_will_do() {
    const NEW_WAY: &[(c_long, Option<c_int>)] = &[(libc::SYS_seccomp, None)];
    for errno in [EPERM, libc::ENOSYS] {
        let found = attempt_without(NEW_WAY, errno);
        assert_eq!(
            found.seccomp,
            Layer::InForce("filter (not logged)".to_owned())
        );
    }
    let confine = || {
        forbid(NEW_WAY, EPERM);
        confine();
    };
    for &attempt in OF_ANYBODY
        .iter()
        .filter(|(name, _)| *name == "make a folder")
    {
        assert_eq!(refusal(confine, attempt), EPERM);
    }
}

#[test]
fn what_was_not_asked_for_is_said() {
    let pid = child(|| {
        let confinement = this_process(Extent::Capabilities, &Needs::default()).unwrap();
        assert_eq!(confinement.to_string(), "no capabilities, no_new_privs");
        let gaps = confinement.gaps();
        let expected = ["seccomp", "landlock"];
        let expected = expected.map(|name| format!("not confined by {name}: --no-sandbox"));
        assert_eq!(gaps, expected);
        0
    });
    assert_eq!(ended(pid.unwrap()).unwrap(), 0);
}
