//! A machine that looks different: files in the place of others, for one thread and the programs
//! that it starts.

use std::ffi::CString;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

use crate::net::in_a_thread;

/// Runs `work` in a thread that sees the first of each pair of paths in the place of the second.
///
/// # Errors
/// Without CAP_SYS_ADMIN, or what `work` returns.
pub fn with_mounts<T: Send>(
    mounts: &[(&Path, &Path)],
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    in_a_thread(|| {
        // SAFETY: takes no pointer; affects the calling thread alone.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return Err(io::Error::last_os_error()).context("failed to unshare the mounts");
        }
        mount(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
        for (from, over) in mounts {
            mount(Some(from), over, libc::MS_BIND)?;
        }
        work()
    })
}

fn mount(from: Option<&Path>, over: &Path, flags: libc::c_ulong) -> Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes());
    let (from, target) = (from.map(text).transpose()?, text(over)?);
    let from = from.as_ref().map_or(std::ptr::null(), |from| from.as_ptr());
    let none = std::ptr::null();
    // SAFETY: every pointer is null or to a string that outlives the call.
    if unsafe { libc::mount(from, target.as_ptr(), none, flags, none.cast()) } != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("failed to mount over {}", over.display()));
    }
    Ok(())
}
