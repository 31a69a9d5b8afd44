//! What the host says, apart from its kernel's insides: clocks, namespaces, this process.
//!
//! Constraint: only reads.

pub mod cgroups;
pub mod clock;
pub mod listeners;
pub mod namespaces;
pub mod netns;
pub mod netstat;
pub mod owners;
pub mod process;
pub mod rmem_max;
pub mod service_manager;
pub mod settings;
pub mod sock_diag;
pub mod sysctls;
pub mod who;

use std::io;
use std::str::FromStr;

/// A setting of this process' namespace, named by its path below /proc/sys: its last value, where
/// it has several.
#[must_use]
pub fn sysctl<T: FromStr>(name: &str) -> Option<T> {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.split_whitespace().next_back()?.parse().ok()
}

/// An error of the system in its own words, without its number.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}
