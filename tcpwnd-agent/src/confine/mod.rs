//! What `run` can no longer do once everything is attached, so that who takes its HTTP listener over
//! can do no more: no capability, no other system calls than its own (seccomp), no other files and no
//! connections (landlock).
//!
//! Constraint: for good and for everything that comes after. Capabilities and landlock are a thread's
//! own, so that it is done while there is one.

#[cfg(test)]
pub(crate) mod attempts;
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
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is still needed, beyond what everybody needs.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The folder in which a file is written anew from time to time. Where there is no landlock to
    /// say which folder that is, files can be made, renamed and removed wherever the user may; and
    /// for root, who may everywhere, there is no such folder then.
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
    /// No file can be written anew, though a folder for that was named.
    pub forgoes_files: bool,
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
    /// Nobody says how many threads there are.
    #[error(
        "failed to confine this process: {TASKS} cannot be read: {} (or use --no-sandbox)",
        crate::host::reason(.0)
    )]
    Unseen(#[source] io::Error),
    /// A layer is there and does not work.
    #[error("failed to confine this process: {0}: {1} (or use --no-sandbox)")]
    Broken(&'static str, String),
    /// There can be no thread to try it in.
    #[error("failed to try the confinement: no thread can be made: {}", crate::host::reason(.0))]
    Attempt(#[source] io::Error),
}

/// The threads of this process.
const TASKS: &str = "/proc/self/task";

/// Why root's agent keeps no state where nobody says in which folder, and the way out.
const NO_STATE: &str = "no state is kept: without landlock root could write over any file: run it as \
                        another user, as the shipped unit does, or on a kernel with landlock";

/// Somebody else is in the way.
const FORBIDDEN: &str = "a seccomp filter or a security module forbids it";

/// Whose capabilities and files are confined already, and whose system calls are not yet.
#[must_use = "without the filter it is confined by halves"]
#[derive(Debug)]
pub struct Begun {
    extent: Extent,
    landlock: Layer,
    makes_files: bool,
    forgoes_files: bool,
}

/// Begins to confine this process, which has one thread. What the kernel does not have, or what is
/// forbidden, is done without.
///
/// # Errors
/// When capabilities are not given up, it cannot be said that there is one thread, or landlock is there
/// and does not work.
pub fn begin(extent: Extent, needs: &Needs) -> Result<Begun, Error> {
    // Without the rest somebody watches over it who may need a thread for that.
    if extent == Extent::Full {
        one_thread()?;
    }
    let begun = begin_thread(extent, needs)?;
    begun.landlock.check("landlock")?;
    Ok(begun)
}

/// Begins to confine this thread, and those that it starts.
fn begin_thread(extent: Extent, needs: &Needs) -> Result<Begun, Error> {
    capabilities::drop_all().map_err(Error::Capabilities)?;
    let writes = needs.writes.as_deref();
    let landlock = match extent {
        Extent::Full => files::apply(writes),
        Extent::Capabilities => Layer::Off,
    };
    // Whoever makes a file as root and renames it executes what he likes: /etc/passwd is a file.
    let bounded = landlock.holds() || extent == Extent::Capabilities || !is_root();
    Ok(Begun {
        extent,
        landlock,
        makes_files: writes.is_some() && bounded,
        forgoes_files: writes.is_some() && !bounded,
    })
}

fn is_root() -> bool {
    // SAFETY: takes and touches nothing.
    unsafe { libc::geteuid() == 0 }
}

impl Begun {
    /// Whether it will make no files, though a folder for that was named. This is the last time that
    /// it can remove one.
    pub fn forgoes_files(&self) -> bool {
        self.forgoes_files
    }

    /// Confines its system calls too.
    ///
    /// # Errors
    /// When something is there and does not work.
    pub fn finish(self) -> Result<Confinement, Error> {
        let confinement = self.filter();
        confinement.check()?;
        Ok(confinement)
    }

    /// The filter comes last, so that it need not let through what the others take.
    fn filter(self) -> Confinement {
        let seccomp = match self.extent {
            Extent::Full => seccomp::apply(self.makes_files),
            Extent::Capabilities => Layer::Off,
        };
        Confinement {
            seccomp,
            landlock: self.landlock,
            forgoes_files: self.forgoes_files,
        }
    }
}

/// Tries it in a thread that ends with that.
///
/// # Errors
/// When there can be no such thread, or capabilities are not given up. What is broken is in the
/// answer: [`Confinement::check`].
pub fn attempt() -> Result<Confinement, Error> {
    let tried = || begin_thread(Extent::Full, &Needs::default()).map(Begun::filter);
    let thread = std::thread::Builder::new().spawn(tried);
    let panicked = |_| Error::Broken("seccomp", "the thread panicked".to_owned());
    thread.map_err(Error::Attempt)?.join().map_err(panicked)?
}

/// Waits until there is one thread: whoever waited for one that has ended may find it here for a
/// moment (`mm_release` before `release_task`, kernel/exit.c, 5.10).
fn one_thread() -> Result<(), Error> {
    let patience = Instant::now() + Duration::from_secs(1);
    loop {
        let threads = std::fs::read_dir(TASKS).map_err(Error::Unseen)?.count();
        if threads == 1 {
            return Ok(());
        }
        if Instant::now() > patience {
            return Err(Error::Threads(threads));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether somebody else's seccomp filter is in force, as a container engine's.
fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.contains("\nSeccomp:\t2\n")
}

impl Layer {
    /// Whether it is in force.
    pub fn holds(&self) -> bool {
        matches!(self, Self::InForce(_))
    }

    fn check(&self, name: &'static str) -> Result<(), Error> {
        match self {
            Self::Broken(why) => Err(Error::Broken(name, why.clone())),
            _ => Ok(()),
        }
    }
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
        let mut layers = self.layers().into_iter();
        layers.try_for_each(|(name, layer)| layer.check(name))
    }

    /// Whether other processes are out of sight, apart from what everybody may know of them.
    pub fn hides_processes(&self) -> bool {
        self.landlock.holds()
    }

    /// What does not hold, why, and what is done without for that, a sentence each.
    pub fn gaps(&self) -> Vec<String> {
        let gap = |(name, layer): (&str, &Layer)| match layer {
            Layer::InForce(_) => None,
            Layer::Off => Some(format!("not confined by {name}: --no-sandbox")),
            other => Some(format!("not confined by {name}: {other}")),
        };
        let no_state = self.forgoes_files.then(|| NO_STATE.to_owned());
        self.layers()
            .into_iter()
            .filter_map(gap)
            .chain(no_state)
            .collect()
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
