//! What somebody would try who has taken `run` over, each as a child process of its own does it.
//!
//! Constraint: each can be done where nothing is confined, by anybody or by root, so that a refusal
//! is the confinement's doing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr::null_mut;

use libc::{c_int, c_long};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{Confinement, Error, Extent, Needs, begin};

/// Something to try.
pub type Attempt = (&'static str, fn() -> io::Result<()>);

/// Whatever anybody may do: what a filter forbids.
pub const OF_ANYBODY: &[Attempt] = &[
    ("make a file", || {
        let path = scratch();
        File::create(&path).and_then(|_| fs::remove_file(path))
    }),
    ("write to a file", || {
        let file = OpenOptions::new().write(true).open("/proc/self/comm");
        file.map(drop)
    }),
    ("make a folder", || {
        let path = scratch();
        fs::create_dir(&path).and_then(|()| fs::remove_dir(path))
    }),
    ("remove a file", || {
        but_for(libc::ENOENT, fs::remove_file(scratch()))
    }),
    ("rename a file", || {
        but_for(libc::ENOENT, fs::rename(scratch(), scratch()))
    }),
    ("execute a program", || {
        let argv = [c"true".as_ptr(), std::ptr::null()];
        // SAFETY: both are what the call wants: text, and an array of texts that ends with null.
        unsafe { libc::execvp(argv[0], argv.as_ptr()) };
        Err(io::Error::last_os_error())
    }),
    ("make a process", || {
        ended(child(|| 0)?).map(|code| assert_eq!(code, 0))
    }),
    ("make a thread", || {
        let thread = std::thread::Builder::new().spawn(|| ());
        thread.map(|thread| thread.join().unwrap())
    }),
    ("connect", || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        TcpStream::connect(listener.local_addr()?).map(drop)
    }),
    ("listen", || TcpListener::bind("127.0.0.1:0").map(drop)),
    // A connection that is there could be taken apart and made anew.
    ("connect a socket", || {
        but_for(libc::EBADF, call(libc::SYS_connect, [-1, 0, 0, 0, 0]))
    }),
    ("bind a socket", || {
        but_for(libc::EBADF, call(libc::SYS_bind, [-1, 0, 0, 0, 0]))
    }),
    ("listen on a socket", || {
        but_for(libc::EBADF, call(libc::SYS_listen, [-1, 0, 0, 0, 0]))
    }),
    ("send to an address", || {
        let address = [0_u8; 16].as_ptr() as c_long;
        but_for(libc::EBADF, send(address, 16))
    }),
    ("signal another process", || {
        // SAFETY: takes numbers only; signal 0 does nothing.
        done(unsafe { libc::kill(libc::getppid(), 0) }.into())
    }),
    ("make memory that is executed", || {
        let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        match unsafe { libc::mmap(null_mut(), 4096, rights, how, -1, 0) } {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }),
    ("make a file in memory", || {
        // SAFETY: the name is a text that ends with null.
        done(unsafe { libc::memfd_create(c"x".as_ptr(), 0) }.into())
    }),
    ("be traced", || {
        // SAFETY: asks to be traced by the parent, and uses no pointer.
        done(unsafe { libc::ptrace(libc::PTRACE_TRACEME) })
    }),
    ("read memory of a process", || {
        let (mut to, from) = ([0_u8; 1], [1_u8; 1]);
        let part = |start: *mut u8| libc::iovec {
            iov_base: start.cast(),
            iov_len: 1,
        };
        let (to, from) = (part(to.as_mut_ptr()), part(from.as_ptr().cast_mut()));
        // SAFETY: reads one byte of this process' own into another one.
        done(unsafe {
            libc::process_vm_readv(libc::getpid(), &raw const to, 1, &raw const from, 1, 0)
        } as c_long)
    }),
    ("use keys", || {
        // KEYCTL_GET_KEYRING_ID of the thread's own keyring, which is to be made.
        call(libc::SYS_keyctl, [0, -1, 1, 0, 0])
    }),
];

/// What takes capabilities.
pub const OF_ROOT: &[Attempt] = &[
    ("load a program", || {
        // Return 0; the two instructions are of 8 bytes each (struct bpf_insn).
        let program: [u64; 2] = [0xb7, 0x95];
        let license = c"GPL";
        // The beginning of union bpf_attr for BPF_PROG_LOAD: type, count, instructions, license.
        let attr: [u64; 3] = [
            1 | 2 << 32,
            program.as_ptr() as u64,
            license.as_ptr() as u64,
        ];
        call(libc::SYS_bpf, [5, attr.as_ptr() as c_long, 24, 0, 0])
    }),
    ("make a map", || {
        // The beginning of union bpf_attr for BPF_MAP_CREATE: an array of one value of 4 bytes.
        let attr: [u32; 4] = [2, 4, 4, 1];
        call(libc::SYS_bpf, [0, attr.as_ptr() as c_long, 16, 0, 0])
    }),
    ("open a perf event", || {
        // PERF_TYPE_SOFTWARE, the size of the first version, PERF_COUNT_SW_CPU_CLOCK.
        let mut attr = [0_u64; 8];
        (attr[0], attr[1]) = (1 | 64 << 32, 0);
        let attr = attr.as_ptr() as c_long;
        call(libc::SYS_perf_event_open, [attr, 0, -1, -1, 0])
    }),
    ("change how core files are written", || {
        let file = OpenOptions::new()
            .write(true)
            .open("/proc/sys/kernel/core_pattern");
        file.map(drop)
    }),
    ("mount", || {
        let path = std::ffi::CString::new(scratch().into_os_string().into_encoded_bytes())?;
        fs::create_dir(scratch())?;
        // SAFETY: all of them are texts that end with null, or null.
        let mounted = done(unsafe {
            let kind = c"tmpfs".as_ptr();
            libc::mount(kind, path.as_ptr(), kind, 0, std::ptr::null())
        } as c_long);
        // SAFETY: as above.
        unsafe { libc::umount(path.as_ptr()) };
        mounted.and(fs::remove_dir(scratch()))
    }),
    ("open a raw socket", || {
        // SAFETY: takes numbers only.
        done(unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) }.into())
    }),
    ("load a module", || {
        let image = [0_u8; 64];
        let (image, len) = (image.as_ptr() as c_long, 64);
        let loaded = call(
            libc::SYS_init_module,
            [image, len, c"".as_ptr() as c_long, 0, 0],
        );
        // To find that out it has to be looked at.
        but_for(libc::ENOEXEC, loaded)
    }),
    ("enter a namespace", || {
        let namespace = File::open("/proc/self/ns/net")?;
        // SAFETY: takes numbers only.
        done(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }.into())
    }),
    ("be somebody else", || {
        call(libc::SYS_setuid, [65_534, 0, 0, 0, 0])
    }),
];

/// What landlock forbids and the filter does not: files that are none of `run`'s business.
pub const TO_READ: &[Attempt] = &[
    ("read a file", || File::open("/etc/passwd").map(drop)),
    ("list a folder", || fs::read_dir("/etc").map(drop)),
];

/// Confines this process, which has one thread.
pub fn this_process(extent: Extent, needs: &Needs) -> Result<Confinement, Error> {
    begin(extent, needs)?.finish()
}

/// Whether there is landlock, whatever the code under test makes of the answer.
pub fn has_landlock() -> bool {
    const ASK_FOR_VERSION: c_long = 1;
    let version = call(
        libc::SYS_landlock_create_ruleset,
        [0, 0, ASK_FOR_VERSION, 0, 0],
    );
    version.is_ok()
}

/// Has these calls answered with an error to this thread, and to those that it starts, as a container
/// engine does. Where a number is given, only with that as their first argument.
pub fn forbid(calls: &[(c_long, Option<c_int>)], errno: c_int) {
    let rules = calls.iter().map(|&(call, first)| {
        let is = |value: c_int| {
            let value = u64::from(value.unsigned_abs());
            let equal = SeccompCmpOp::Eq;
            let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, equal, value);
            SeccompRule::new(vec![condition.unwrap()]).unwrap()
        };
        (call, first.map(is).into_iter().collect())
    });
    let filter = SeccompFilter::new(
        rules.collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// The error number that an attempt ends with in a child that is made ready like this; 0 where it
/// succeeds.
pub fn refusal(ready: impl FnOnce(), attempt: Attempt) -> c_int {
    let child = child(|| {
        ready();
        match (attempt.1)() {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(253),
        }
    });
    ended(child.unwrap()).unwrap()
}

/// Makes a child that ends with what `work` gives back; 254 if it panics. It has one thread.
pub fn child(work: impl FnOnce() -> c_int) -> io::Result<c_int> {
    child_with(&[], work)
}

/// The same for one that has these descriptors open.
pub fn child_with(kept: &[BorrowedFd<'_>], work: impl FnOnce() -> c_int) -> io::Result<c_int> {
    // SAFETY: the child goes on with a copy of this thread alone. The C library's allocator is made
    // for that (it takes its locks before); nothing else that another thread may hold is used.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Other tests' sockets are not to stay open for as long as this lives.
            let is_kept = |fd: &c_int| kept.iter().any(|kept| kept.as_raw_fd() == *fd);
            for fd in (3..1024).filter(|fd| !is_kept(fd)) {
                // SAFETY: whoever owns it does nothing any more in this process.
                unsafe { libc::close(fd) };
            }
            let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(254);
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(code) }
        }
        _ => Ok(pid),
    }
}

/// Waits for a child's end; a signal that ended it counts as 1000 and more.
pub fn ended(pid: c_int) -> io::Result<c_int> {
    let mut status = 0;
    // SAFETY: the status is written to a variable of ours.
    done(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into())?;
    Ok(if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        1000 + libc::WTERMSIG(status)
    })
}

/// A socket that listens, for whoever is to be connected to.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A path that is this process' own.
fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("tcpwnd-confine-{}", std::process::id()))
}

fn call(number: c_long, arguments: [c_long; 5]) -> io::Result<()> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: each caller's pointers lead to what the call wants, and outlive it.
    done(unsafe { libc::syscall(number, a, b, c, d, e) })
}

/// sendto(2) with a socket that is none.
fn send(address: c_long, len: c_long) -> io::Result<()> {
    // SAFETY: nothing is sent, and the address is that of as many bytes.
    done(unsafe { libc::syscall(libc::SYS_sendto, -1, 0_usize, 0, 0, address, len) })
}

/// What went wrong only because of what it was tried on has not been refused.
fn but_for(harmless: c_int, result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.raw_os_error() {
        Some(number) if number == harmless => Ok(()),
        _ => Err(error),
    })
}

fn done(result: c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
