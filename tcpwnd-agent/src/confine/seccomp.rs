//! Installing the filters of [`super::calls`].
//!
//! Constraint: for good, for the calling thread and those that it starts. The library's own way to
//! install has no flag for the kernel's log, so that this does it.

use std::io;

use libc::{EACCES, EINVAL, ENOSYS, EPERM};
use seccompiler::BpfProgram;

use super::{Layer, calls};

const ABSENT: &str = "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)";
const FORBIDDEN: &str = "a seccomp filter or a security module forbids it";

/// Confines this thread to the calls of [`calls::allowed`]. What is refused goes to the kernel's log.
pub fn apply(writes_a_file: bool) -> Layer {
    let programs = calls::unanswered().and_then(|first| {
        let second = calls::allowed(writes_a_file)?;
        Ok([first, second])
    });
    let installed = programs
        .map_err(io::Error::other)
        .and_then(|[first, second]| {
            // Nobody needs to hear of calls that libraries make to find out what there is.
            install(&first, 0)?;
            install(&second, libc::SECCOMP_FILTER_FLAG_LOG)
        });
    match installed {
        Ok(()) => Layer::InForce("filter".to_owned()),
        Err(error) => refused(error),
    }
}

fn refused(error: io::Error) -> Layer {
    match error.raw_os_error() {
        // Kernels that were built without filters know the call, and not this use of it
        // (seccomp_set_mode_filter, kernel/seccomp.c, 5.10).
        Some(ENOSYS | EINVAL) => Layer::Absent(ABSENT.to_owned()),
        Some(EPERM | EACCES) => Layer::Forbidden(FORBIDDEN.to_owned()),
        _ => Layer::Broken(crate::host::reason(&error)),
    }
}

fn install(program: &BpfProgram, flags: libc::c_ulong) -> io::Result<()> {
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
            flags,
            &raw const program,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::{Layer, refused};
    use std::io::Error;

    #[test]
    fn absent_forbidden_and_broken_are_told_apart() {
        let of = |errno| refused(Error::from_raw_os_error(errno));
        assert!(matches!(of(libc::EINVAL), Layer::Absent(_)));
        assert!(matches!(of(libc::EPERM), Layer::Forbidden(_)));
        let broken = Layer::Broken("cannot allocate memory".to_owned());
        assert_eq!(of(libc::ENOMEM), broken);
    }
}
