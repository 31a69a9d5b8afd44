//! What `run` can no longer do once everything is attached, so that who takes its HTTP listener over
//! can do no more: no capability, no other system calls than its own (seccomp), no other files and no
//! connections (landlock).
//!
//! Constraint: for good and for everything that comes after. Capabilities and landlock are a thread's
//! own, so that it is done while there is one.

#[cfg(test)]
mod attempts;
mod calls;
mod capabilities;
mod files;
mod seccomp;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vm_tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is still needed, beyond what everybody needs.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The folder in which a file is written anew from time to time. Where there is no landlock to
    /// say which folder that is, files can be made, renamed and removed wherever the user may.
    pub writes: Option<PathBuf>,
}

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Capabilities, system calls and files.
    Full,
    /// Capabilities, which may be in nobody's way.
    Capabilities,
}

/// What came of one way to confine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// It holds; and what kind of it.
    InForce(String),
    /// This kernel does not have it, and why.
    Absent(String),
    /// It is kept from us, and why.
    Forbidden(String),
    /// It should have worked, and what the system says.
    Broken(String),
    /// It was not asked for.
    Off,
}

/// What holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// System calls.
    pub seccomp: Layer,
    /// Files and sockets.
    pub landlock: Layer,
}

/// Why it cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Capabilities are not given up.
    #[error("failed to give up capabilities: {}", crate::host::reason(.0))]
    Capabilities(#[source] io::Error),
    /// There is more than one thread.
    #[error("failed to confine this process: it has {0} threads already (or use --no-sandbox)")]
    Threads(usize),
    /// A layer is there and does not work.
    #[error("failed to confine this process: {0}: {1} (or use --no-sandbox)")]
    Broken(&'static str, String),
}

/// Confines this process, which has one thread. What the kernel does not have, or what is forbidden,
/// is done without.
///
/// # Errors
/// When capabilities are not given up, or something is there and does not work.
pub fn this_process(extent: Extent, needs: &Needs) -> Result<Confinement, Error> {
    let threads = threads_settled();
    if threads != 1 {
        return Err(Error::Threads(threads));
    }
    let confinement = this_thread(extent, needs)?;
    confinement.check()?;
    Ok(confinement)
}

/// Confines this thread, and those that it starts.
fn this_thread(extent: Extent, needs: &Needs) -> Result<Confinement, Error> {
    capabilities::drop_all().map_err(Error::Capabilities)?;
    if extent == Extent::Capabilities {
        return Ok(Confinement {
            seccomp: Layer::Off,
            landlock: Layer::Off,
        });
    }
    // The filter comes last, so that it need not let through what the others take.
    let landlock = files::apply(needs.writes.as_deref());
    let seccomp = seccomp::apply(needs.writes.is_some());
    Ok(Confinement { seccomp, landlock })
}

/// Tries it in a thread that ends with that.
///
/// # Errors
/// When capabilities are not given up. What is broken is in the answer: [`Confinement::check`].
pub fn attempt() -> Result<Confinement, Error> {
    let thread = std::thread::spawn(|| this_thread(Extent::Full, &Needs::default()));
    let panicked = |_| Error::Broken("seccomp", "the thread panicked".to_owned());
    thread.join().map_err(panicked)?
}

/// Threads of this process, once those are gone that have ended: whoever waited for one may find it
/// here for a moment (`mm_release` before `release_task`, kernel/exit.c, 5.10).
fn threads_settled() -> usize {
    let patience = Instant::now() + Duration::from_secs(1);
    loop {
        let threads = threads();
        if threads == 1 || Instant::now() > patience {
            return threads;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Threads of this process; 0 where /proc does not tell.
fn threads() -> usize {
    std::fs::read_dir(Path::new("/proc/self/task")).map_or(0, Iterator::count)
}

impl Confinement {
    /// The layers by name.
    pub fn layers(&self) -> [(&'static str, &Layer); 2] {
        [("seccomp", &self.seccomp), ("landlock", &self.landlock)]
    }

    /// Whether everything works that is there.
    ///
    /// # Errors
    /// With what does not.
    pub fn check(&self) -> Result<(), Error> {
        for (name, layer) in self.layers() {
            if let Layer::Broken(why) = layer {
                return Err(Error::Broken(name, why.clone()));
            }
        }
        Ok(())
    }

    /// Whether other processes are out of sight, apart from what everybody may know of them.
    pub fn hides_processes(&self) -> bool {
        matches!(self.landlock, Layer::InForce(_))
    }

    /// What does not hold, and why, a sentence each.
    pub fn gaps(&self) -> Vec<String> {
        let gap = |(name, layer): (&str, &Layer)| match layer {
            Layer::InForce(_) => None,
            Layer::Off => Some(format!("{name}: --no-sandbox")),
            other => Some(format!("{name}: {other}")),
        };
        self.layers().into_iter().filter_map(gap).collect()
    }
}

/// What holds, in one line.
impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no capabilities, no_new_privs")?;
        for (name, layer) in self.layers() {
            if let Layer::InForce(kind) = layer {
                write!(f, ", {name} {kind}")?;
            }
        }
        Ok(())
    }
}

/// As `check` says it.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InForce(kind) => write!(f, "supported: {kind}"),
            Self::Absent(why) => write!(f, "unsupported: {why}"),
            Self::Forbidden(why) => write!(f, "forbidden: {why}"),
            Self::Broken(why) => write!(f, "broken: {why}"),
            Self::Off => f.write_str("off"),
        }
    }
}
