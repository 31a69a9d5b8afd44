//! Why nothing is attached.

/// One line, lower case, with the object, the reason and the way out.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Replaced by the real ones when the bodies follow.
    #[error("not written yet")]
    Unfinished,
}

impl AttachError {
    /// The verifier's log, for `-vv`, when it was the verifier that refused a program.
    #[must_use]
    pub fn verifier_log(&self) -> Option<&str> {
        None
    }
}
