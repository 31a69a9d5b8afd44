//! Witnesses of a confined process: what the kernel says of its threads, which system calls it refused
//! to them, and what it has to confine them with.

use std::fs;
use std::io;

use anyhow::{Context, Result, bail, ensure};

use crate::net::in_a_thread;
use crate::trace_probe::{TraceProbe, field};

/// The kernel's version of landlock; ENOSYS where it has none.
fn landlock_version() -> io::Result<i64> {
    // LANDLOCK_CREATE_RULESET_VERSION (include/uapi/linux/landlock.h).
    const ASK: u32 = 1;
    // SAFETY: asked for its version, the kernel wants no attributes.
    let version = unsafe {
        let none = std::ptr::null::<libc::c_void>();
        libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, ASK)
    };
    if version < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(version)
}

/// The newest version of landlock that the agent asks for.
const NEWEST: i64 = 10;

/// What the agent can have of this kernel's landlock, in its words, or why it has none.
///
/// # Errors
/// When the kernel does not say.
pub fn landlock() -> Result<Result<String, &'static str>> {
    let version = match landlock_version() {
        Ok(version) => version.min(NEWEST),
        Err(error) => return no_landlock(&error).map(Err),
    };
    let covered = match version {
        ..4 => " (files only)",
        4..6 => " (files, ports)",
        _ => "",
    };
    Ok(Ok(format!("ABI {version}{covered}")))
}

fn no_landlock(error: &io::Error) -> Result<&'static str> {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Ok("this kernel has none (from 5.13 on)"),
        Some(libc::EOPNOTSUPP) => {
            Ok("this kernel has it, but it was not switched on at the start (lsm=landlock,...)")
        }
        _ => bail!("failed to ask for landlock: {error}"),
    }
}

/// What the kernel says of a thread (proc_pid_status(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Inheritable, permitted, effective and ambient capabilities, all in one.
    pub capabilities: u64,
    /// Those that an exec could bring back.
    pub bounding: u64,
    /// No exec gives more than there is.
    pub no_new_privs: u64,
    /// 2 where there is a filter.
    pub seccomp: u64,
}

/// The threads of a process, but for those that end meanwhile.
///
/// # Errors
/// When the process has ended, or /proc is not as it should be.
pub fn threads(process: u32) -> Result<Vec<Status>> {
    let folder = format!("/proc/{process}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("failed to read {folder}"))?;
    let mut all = Vec::new();
    for thread in threads {
        let path = thread?.path().join("status");
        let text = match fs::read_to_string(&path) {
            Err(error) if has_ended(&error) => continue,
            read => read.with_context(|| format!("failed to read {}", path.display()))?,
        };
        all.push(status(&text).with_context(|| format!("not a status: {text}"))?);
    }
    ensure!(!all.is_empty(), "{folder} has no threads any more");
    Ok(all)
}

/// Whether /proc says so of whose file was to be opened, or was being read.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn status(text: &str) -> Option<Status> {
    let number = |name: &str, base| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))?;
        u64::from_str_radix(value, base).ok()
    };
    let sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"];
    let capabilities = sets
        .iter()
        .try_fold(0, |all, set| Some(all | number(set, 16)?));
    Some(Status {
        capabilities: capabilities?,
        bounding: number("CapBnd", 16)?,
        no_new_privs: number("NoNewPrivs", 10)?,
        seccomp: number("Seccomp", 10)?,
    })
}

/// A system call that a filter refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// Whom.
    pub thread: u32,
    /// Its number.
    pub call: u32,
}

/// A recording of what filters refuse, if they say that it is to be logged. It ends with this value.
#[derive(Debug)]
pub struct Denials(TraceProbe);

/// What the kernel tells its log by: audit_seccomp(syscall, signr, code), kernel/auditsc.c, 4.17. The
/// log itself leaves lines out when there are many.
const LOGGED: &str = "audit_seccomp call=%di:u32";

impl Denials {
    /// Begins.
    ///
    /// # Errors
    /// Of the kind `NotFound` where the kernel has no such probes, or does not log.
    pub fn record() -> io::Result<Self> {
        TraceProbe::start("denied", LOGGED).map(Self)
    }

    /// All since the last time, in order, of whom and for what.
    ///
    /// # Errors
    /// When the trace cannot be read, or is not as it should be.
    pub fn take(&self) -> Result<Vec<Denial>> {
        let lines = self.0.take()?.into_iter();
        lines
            .map(|(thread, line)| {
                let call = field(&line, "call");
                let call = call.with_context(|| format!("not a line of a denial: {line}"))?;
                Ok(Denial { thread, call })
            })
            .collect()
    }

    /// Has a call refused to a thread of ours, and checks that it is told of.
    ///
    /// # Errors
    /// When it is not.
    pub fn prove(&self) -> Result<()> {
        self.take()?;
        let denial = in_a_thread(denied)?;
        let told = self.take()?;
        ensure!(
            told.contains(&denial),
            "{denial:?} is not in the recording: {told:?}"
        );
        Ok(())
    }
}

/// Has getpriority(2) refused to this thread, for good.
fn denied() -> Result<Denial> {
    const CALL: u32 = libc::SYS_getpriority as u32;
    let statement = |code: u32, jump_false: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: jump_false,
        k,
    };
    // The number is the first field of struct seccomp_data.
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, CALL),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which outlives the call; the others take numbers.
    let (installed, thread, answer) = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let installed = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_LOG,
            &raw const program,
        );
        let answer = libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0);
        (installed, libc::gettid(), answer)
    };
    ensure!(
        installed == 0 && answer == -1,
        "a filter was to refuse: installed {installed}, the call said {answer}"
    );
    Ok(Denial {
        thread: thread.unsigned_abs(),
        call: CALL,
    })
}

#[cfg(test)]
mod tests {
    use super::{denied, no_landlock, status, threads};
    use crate::net::in_a_thread;

    #[test]
    fn a_status_is_read() {
        let text = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000001\n\
                    CapEff:\t0000000000000000\nCapBnd:\t000000c000000000\nCapAmb:\t0000000000000010\n\
                    NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let status = status(text).unwrap();
        assert_eq!((status.capabilities, status.bounding), (0x11, 0xc0 << 32));
        assert_eq!((status.no_new_privs, status.seccomp), (1, 2));
    }

    #[test]
    fn why_there_is_no_landlock_is_not_guessed() {
        let of = |errno| no_landlock(&std::io::Error::from_raw_os_error(errno));
        assert!(of(libc::ENOSYS).unwrap().contains("5.13"));
        assert!(of(libc::EOPNOTSUPP).unwrap().contains("lsm="));
        assert!(of(libc::EPERM).is_err());
    }

    #[test]
    fn a_call_is_refused_to_a_thread_and_to_nobody_else() {
        in_a_thread(denied).unwrap();
        let status = threads(std::process::id()).unwrap();
        assert!(status.iter().any(|thread| thread.seccomp == 0));
    }
}
