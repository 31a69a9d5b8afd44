//! Files and sockets by landlock: what `run` reads after everything is attached can be read, and
//! nothing else. Nothing can be written but below a folder that was named.
//!
//! Constraint: what a kernel's landlock does not know yet is left out (best effort), and what holds of
//! it is told.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{FORBIDDEN, Layer, is_filtered};
use crate::host::{cgroups, reason};

/// The newest version whose rights were tried.
const NEWEST: ABI = ABI::V10;

/// Processes, settings, this process' own figures and descriptors. Of other processes landlock leaves
/// what everybody may know: neither descriptors nor memory nor environment
/// (hook_ptrace_access_check, security/landlock/task.c, 5.13).
const READ: &str = "/proc";

/// Names of network namespaces, which may come only later: /run/netns, /run/docker/netns.
const LIST: &str = "/run";

/// LANDLOCK_CREATE_RULESET_VERSION (include/uapi/linux/landlock.h).
const ASK_FOR_VERSION: libc::c_uint = 1;

/// Confines this thread. Below the folder `writes` files can be made, changed and removed.
pub fn apply(writes: Option<&Path>) -> Layer {
    let version = match version() {
        Ok(version) => version,
        Err(error) => return refused(&error, is_filtered()),
    };
    match restrict(writes) {
        Ok(RulesetStatus::NotEnforced) => Layer::Broken("nothing of it is in force".to_owned()),
        Ok(_) => Layer::InForce(kind(version)),
        Err(error) => unfinished(&error),
    }
}

/// What of it is asked for and there: its version, and what it covers if that is not everything.
fn kind(version: libc::c_long) -> String {
    let version = version.min(NEWEST as libc::c_long);
    let covered = match version {
        ..4 => " (files only)",
        4..6 => " (files, ports)",
        _ => "",
    };
    format!("ABI {version}{covered}")
}

/// Of a kernel that has it.
fn unfinished(error: &(dyn Error + 'static)) -> Layer {
    match errno(error) {
        // A filter that lets one of its calls through may refuse another.
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => Layer::Forbidden(FORBIDDEN.to_owned()),
        _ => Layer::Broken(error.to_string()),
    }
}

/// What the system said, where that is what an error comes of.
fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
}

fn restrict(writes: Option<&Path>) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut readable = cgroups::mounts();
    readable.push(PathBuf::from(READ));
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        // Without a rule: no port is bound, none is connected to.
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(&readable, read))?
        .add_rules(path_beneath_rules([LIST], AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(writes, read | write()))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// What it takes to write a file beside an old one and to put it in its place.
fn write() -> BitFlags<AccessFs> {
    AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile
}

/// The kernel's version of landlock.
fn version() -> io::Result<libc::c_long> {
    // SAFETY: asked for the version, the kernel wants no attributes.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            ASK_FOR_VERSION,
        )
    };
    if version < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(version)
}

fn refused(error: &io::Error, filtered: bool) -> Layer {
    match error.raw_os_error() {
        // As some container engines answer for calls that they do not know.
        Some(libc::ENOSYS) if filtered => Layer::Absent(
            "this kernel has none (from 5.13 on), or a seccomp filter hides it".to_owned(),
        ),
        Some(libc::ENOSYS) => Layer::Absent("this kernel has none (from 5.13 on)".to_owned()),
        Some(libc::EOPNOTSUPP) => Layer::Absent(
            "this kernel has it, but it was not switched on at the start (lsm=landlock,...)"
                .to_owned(),
        ),
        Some(libc::EPERM | libc::EACCES) => Layer::Forbidden(FORBIDDEN.to_owned()),
        _ => Layer::Broken(reason(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Layer, kind, refused};
    use std::io::Error;

    #[test]
    fn absent_forbidden_and_broken_are_told_apart() {
        let of = |errno, filtered| refused(&Error::from_raw_os_error(errno), filtered);
        let Layer::Absent(why) = of(libc::ENOSYS, false) else {
            panic!("it is there");
        };
        assert!(!why.contains("seccomp"), "{why}");
        assert!(matches!(of(libc::ENOSYS, true), Layer::Absent(why) if why.contains("seccomp")));
        assert!(matches!(of(libc::EOPNOTSUPP, false), Layer::Absent(why) if why.contains("lsm=")));
        assert!(matches!(of(libc::EPERM, true), Layer::Forbidden(_)));
        let broken = Layer::Broken("cannot allocate memory".to_owned());
        assert_eq!(of(libc::ENOMEM, false), broken);
    }

    #[test]
    fn what_a_version_does_not_cover_is_said() {
        for (version, expected) in [
            (1, "ABI 1 (files only)"),
            (3, "ABI 3 (files only)"),
            (4, "ABI 4 (files, ports)"),
            (5, "ABI 5 (files, ports)"),
            (6, "ABI 6"),
            (10, "ABI 10"),
            // Of what came later nothing is asked for.
            (99, "ABI 10"),
        ] {
            assert_eq!(kind(version), expected);
        }
    }
}
