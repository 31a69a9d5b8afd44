//! The only place that reads kernel memory.
//!
//! A kernel object is an address, never dereferenced; every read goes through
//! `bpf_probe_read_kernel` and can fail.

use crate::consts;
use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use tcpwnd_common::Field;

/// Kernel memory could not be read.
pub struct Unreadable;

/// Result of a read.
pub type Result<T> = core::result::Result<T, Unreadable>;

/// Address of a kernel object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Object(pub *const u8);

impl Object {
    /// The address as a number that only identifies.
    #[inline(always)]
    pub fn id(self) -> u64 {
        self.0 as u64
    }

    /// Whether there is no object.
    #[inline(always)]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// A plain value, `offset` bytes behind the beginning.
    #[inline(always)]
    pub fn at<T>(self, offset: usize) -> Result<T> {
        // SAFETY: the helper checks the address and copies; `T` is an integer or an array of
        // integers wherever this is called.
        unsafe { bpf_probe_read_kernel(self.0.wrapping_add(offset).cast()) }.map_err(|_| Unreadable)
    }

    /// A field that is a plain integer or array of bytes of `T`'s size.
    #[inline(always)]
    pub fn get<T>(self, field: Field) -> Result<T> {
        self.at(consts::offset(field))
    }

    /// A field of up to 25 bits at any bit position, or of 32 aligned bits; 0 when this kernel
    /// does not have it.
    #[inline(always)]
    pub fn bits(self, field: Field) -> Result<u32> {
        let at = consts::field(field);
        if !at.is_present() {
            return Ok(0);
        }
        let word: u32 = self.at(at.byte as usize)?;
        let mask = (1u64 << (at.width as u64 & 63)) - 1;
        Ok(((word >> (at.bit as u32 & 7)) as u64 & mask) as u32)
    }

    /// A field that points to another object.
    #[inline(always)]
    pub fn follow(self, field: Field) -> Result<Object> {
        let address: u64 = self.get(field)?;
        Ok(Object(address as *const u8))
    }

    /// Copies `len` bytes, at most `into.len()`, from `offset`.
    #[inline(always)]
    pub fn copy<const N: usize>(self, offset: usize, into: &mut [u8; N], len: usize) -> Result<()> {
        let len = if len > N { N } else { len };
        // SAFETY: `len` is at most the size of `into`; the helper checks the source.
        let status = unsafe {
            generated::bpf_probe_read_kernel(
                into.as_mut_ptr().cast(),
                len as u32,
                self.0.wrapping_add(offset).cast(),
            )
        };
        if status == 0 { Ok(()) } else { Err(Unreadable) }
    }
}
