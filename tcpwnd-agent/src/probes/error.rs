//! Why nothing is attached.
//!
//! Constraint: a message is one line, lower case, and names the object, the reason and the way
//! out. What aya said stays reachable through `source`.

use std::io;

use aya::EbpfError;
use aya::maps::perf::PerfBufferError;
use aya::programs::ProgramError;

use crate::kernel::btf::BtfError;
use crate::kernel::offsets::OffsetError;

/// One line, lower case, with the object, the reason and the way out.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No type information.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel's structs are not as the programs need them.
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    /// The maps could not be made, or the object not be taken apart.
    #[error("failed to load the kernel programs: {what}: {reason}")]
    Object {
        /// Which part.
        what: String,
        /// Why, and the way out.
        reason: String,
        /// What aya said.
        #[source]
        source: Box<EbpfError>,
    },
    /// The kernel was built without what every program needs.
    #[error("failed to load the kernel programs: {0}")]
    NothingToUse(String),
    /// The object in this binary lacks a part: the agent and its programs do not fit together.
    #[error("this build is broken: its kernel programs have no {0}")]
    Incomplete(&'static str),
    /// The kernel has none of a hook's functions.
    #[error("failed to attach {hook}: this kernel has no function {functions}")]
    NoSymbol {
        /// Name of the hook.
        hook: &'static str,
        /// The functions that were looked for.
        functions: String,
    },
    /// A hook could not be attached by any mechanism that was allowed.
    #[error("{message}")]
    Refused {
        /// A failure for each mechanism that was tried, most wanted last.
        message: String,
        /// What the verifier wrote about the last; empty when it was not asked or was content.
        verifier_log: String,
        /// What aya said to the last.
        #[source]
        source: Box<ProgramError>,
    },
    /// The perf buffer of a CPU could not be had.
    #[error("failed to open the perf buffer of CPU {cpu}: {reason}")]
    PerfBuffer {
        /// Which.
        cpu: u32,
        /// Why, and the way out.
        reason: String,
        /// What aya said.
        #[source]
        source: PerfBufferError,
    },
    /// A map could not be mapped into memory, or not be watched.
    #[error("failed to map {map}: {error}")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The number of possible CPUs is unknown.
    #[error("failed to read {path}: {error}")]
    Cpus {
        /// Where it was looked for.
        path: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl AttachError {
    /// The failures of a hook in one line, and what aya said to the last.
    pub(super) fn refused(message: String, source: ProgramError) -> Self {
        let verifier_log = match &source {
            ProgramError::LoadError { verifier_log, .. } => verifier_log.to_string(),
            _ => String::new(),
        };
        Self::Refused {
            message,
            verifier_log,
            source: Box::new(source),
        }
    }

    /// The verifier's log, for `-vv`, when it was the verifier that refused a program.
    #[must_use]
    pub fn verifier_log(&self) -> Option<&str> {
        match self {
            Self::Refused { verifier_log, .. } => Some(verifier_log.as_str()),
            _ => None,
        }
        .filter(|log| !log.is_empty())
    }
}
