//! A network namespace, and running code in it.
//!
//! Constraint: the calling thread never changes its own namespace; code that has to run in
//! another one gets a thread of its own.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, anyhow, bail};

use super::run;
use super::setting::set;

/// A network namespace of the laboratory's own. It ends with this value, the sockets and the
/// devices that were made in it.
#[derive(Debug)]
pub struct Namespace {
    handle: File,
}

impl Namespace {
    /// Creates a namespace with `lo` up.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN, or without the `ip` tool.
    pub fn new() -> Result<Self> {
        let handle = in_a_thread(|| {
            // SAFETY: takes no pointer; affects the calling thread alone.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(std::io::Error::last_os_error())
                    .context("failed to create a network namespace");
            }
            run("ip link set lo up")?;
            File::open("/proc/thread-self/ns/net").context("failed to open a network namespace")
        })?;
        Ok(Self { handle })
    }

    /// The namespace that has this name (`ip netns add`), with `lo` up.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self> {
        let path = format!("/run/netns/{name}");
        let handle = File::open(&path).with_context(|| format!("failed to open {path}"))?;
        let namespace = Self { handle };
        namespace.enter(|| run("ip link set lo up"))?;
        Ok(namespace)
    }

    /// Runs `work` in this namespace, in a thread of its own, and returns its result.
    ///
    /// Sockets, devices and child processes that it makes belong to this namespace; `/proc/sys/net`
    /// and `/proc/thread-self/net` show this namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or what `work` returns.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let handle = self.handle.as_raw_fd();
        in_a_thread(move || {
            join(handle)?;
            work()
        })
    }

    /// Path by which `ip` finds this namespace.
    #[must_use]
    pub fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.handle.as_raw_fd()
        )
    }

    /// Inode number, by which the kernel and the agent name this namespace.
    ///
    /// # Errors
    /// When the namespace's file cannot be examined.
    pub fn inode(&self) -> Result<u64> {
        Ok(self
            .handle
            .metadata()
            .context("failed to examine a network namespace")?
            .ino())
    }

    /// Writes a setting of this namespace, for example `net/ipv4/tcp_syncookies`.
    ///
    /// # Errors
    /// When the kernel has no such setting, or refuses the value.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.enter(|| set(name, value))
    }
}

fn join(handle: RawFd) -> Result<()> {
    // SAFETY: takes a descriptor by value; affects the calling thread alone.
    if unsafe { libc::setns(handle, libc::CLONE_NEWNET) } != 0 {
        bail!(
            "failed to enter a network namespace: {}",
            std::io::Error::last_os_error()
        );
    }
    Ok(())
}

/// Runs `work` in a thread of its own, whose namespaces it may change.
///
/// # Errors
/// What `work` returns, or that it panicked.
pub fn in_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => Err(anyhow!("panicked in a namespace: {}", message(&*panic))),
    })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}
