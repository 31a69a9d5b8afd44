//! All knowledge of kernel versions: what this kernel has, where it keeps it, what it allows.
//!
//! Constraint: imports nothing else of the agent. The kernel is asked; its version number only
//! explains an absence.

/// Something that this kernel does not have and that can be done without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degradation {
    /// Name of what is missing.
    pub what: &'static str,
    /// What follows from it.
    pub consequence: &'static str,
}
