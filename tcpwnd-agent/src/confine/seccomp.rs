//! Installing the filter of [`super::calls`].
//!
//! Constraint: for good, for the calling thread and those that it starts. The library's own way to
//! install has no flag for the kernel's log, so that this does it.

use std::io;

use libc::{EACCES, EINVAL, ENOSYS, EPERM};
use seccompiler::BpfProgram;

use super::{FORBIDDEN, Layer, calls, is_filtered};

const ABSENT: &str = "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)";

/// What it refuses goes to the kernel's log, or does not.
const LOGGED: &str = "filter";
const UNLOGGED: &str = "filter (not logged)";

/// Confines this thread to the calls of [`calls::allowed`]. What is refused goes to the kernel's log
/// where seccomp(2) is to be had.
pub fn apply(makes_files: bool) -> Layer {
    let filtered = is_filtered();
    let program = calls::allowed(makes_files).map_err(io::Error::other);
    match program.and_then(|program| install(&program)) {
        Ok(kind) => Layer::InForce(kind.to_owned()),
        Err(error) => refused(&error, filtered),
    }
}

/// `filtered`: somebody else's filter is in force, so that the kernel has them.
fn refused(error: &io::Error, filtered: bool) -> Layer {
    match error.raw_os_error() {
        Some(EPERM | EACCES) => Layer::Forbidden(FORBIDDEN.to_owned()),
        // As some container engines answer for calls that they do not know.
        Some(ENOSYS | EINVAL) if filtered => Layer::Forbidden(FORBIDDEN.to_owned()),
        // Kernels that were built without filters know the call, and not this use of it
        // (seccomp_set_mode_filter, kernel/seccomp.c, 5.10).
        Some(ENOSYS | EINVAL) => Layer::Absent(ABSENT.to_owned()),
        _ => Layer::Broken(crate::host::reason(error)),
    }
}

fn install(program: &BpfProgram) -> io::Result<&'static str> {
    // The library's instruction has the kernel's layout, under a name of its own.
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel copies `len` instructions from where they are, and changes nothing.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_LOG,
            &raw const program,
        )
    };
    if done == 0 {
        return Ok(LOGGED);
    }
    let error = io::Error::last_os_error();
    // Whoever keeps seccomp(2) from us may know the older way only.
    if let Some(EPERM | ENOSYS) = error.raw_os_error() {
        let filter = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
        // SAFETY: as above.
        if unsafe { libc::prctl(libc::PR_SET_SECCOMP, filter, &raw const program) } == 0 {
            return Ok(UNLOGGED);
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::{Layer, refused};
    use std::io::Error;

    #[test]
    fn absent_forbidden_and_broken_are_told_apart() {
        let of = |errno, filtered| refused(&Error::from_raw_os_error(errno), filtered);
        for errno in [libc::EINVAL, libc::ENOSYS] {
            assert!(matches!(of(errno, false), Layer::Absent(_)));
            assert!(matches!(of(errno, true), Layer::Forbidden(_)));
        }
        assert!(matches!(of(libc::EPERM, false), Layer::Forbidden(_)));
        let broken = Layer::Broken("cannot allocate memory".to_owned());
        assert_eq!(of(libc::ENOMEM, true), broken);
    }
}
