//! What a program is started with: the agent's settings, and its context.
//!
//! The one place where the two objects differ in how they get a setting. In the ring buffer's these
//! are globals (`globals`, from 5.2 on); in the perf buffer's the entry of an array map
//! (`settings_map`). To everything else it is a value that is handed down, and in the first case
//! takes no room.

#[cfg(not(feature = "perf"))]
mod globals;
#[cfg(feature = "perf")]
mod settings_map;

#[cfg(not(feature = "perf"))]
pub use globals::Env;
#[cfg(feature = "perf")]
pub use settings_map::Env;

use crate::read::Object;
use tcpwnd_common::{Field, FieldRef, ROLE_CLIENT, ROLE_SERVER};

impl Env {
    /// The kernel object at an address.
    #[inline(always)]
    pub fn object(self, address: *const u8) -> Object {
        Object {
            address,
            env: self,
            typed: false,
        }
    }

    /// The kernel object that is an argument of a tracing program (fentry, fexit) or its result. The
    /// verifier refuses to load a program that says so of anything else.
    #[inline(always)]
    pub fn argument(self, address: *const u8) -> Object {
        Object {
            typed: true,
            ..self.object(address)
        }
    }

    /// The same from where the address was noted down.
    #[inline(always)]
    pub fn object_at(self, address: u64) -> Object {
        self.object(address as *const u8)
    }

    /// Offset of a field in bytes.
    #[inline(always)]
    pub fn offset(self, field: Field) -> usize {
        self.byte_of(field) as usize
    }

    /// Whether the running kernel has a field.
    #[inline(always)]
    pub fn has(self, field: Field) -> bool {
        self.width_of(field) != FieldRef::ABSENT.width
    }

    /// Whether to look at connections that this host accepts.
    #[inline(always)]
    pub fn serves(self) -> bool {
        self.roles() & ROLE_SERVER != 0
    }

    /// Whether to look at connections that this host opens.
    #[inline(always)]
    pub fn connects(self) -> bool {
        self.roles() & ROLE_CLIENT != 0
    }
}
