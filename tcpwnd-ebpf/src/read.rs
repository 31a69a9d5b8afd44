//! The only place that reads kernel memory.
//!
//! A kernel object is an address, never dereferenced; every read goes through
//! `bpf_probe_read_kernel`, or through `bpf_probe_read` in the perf buffer object (the former came
//! with 5.5), and can fail.

use crate::env::Env;
#[cfg(feature = "perf")]
use aya_ebpf::helpers::{bpf_probe_read as probe_read, generated::bpf_probe_read as copy};
#[cfg(not(feature = "perf"))]
use aya_ebpf::helpers::{
    bpf_probe_read_kernel as probe_read, generated::bpf_probe_read_kernel as copy,
};
use core::ptr::read_volatile;
use tcpwnd_common::Field;

/// Kernel memory could not be read.
pub struct Unreadable;

/// Result of a read.
pub type Result<T> = core::result::Result<T, Unreadable>;

/// Address of a kernel object.
#[derive(Clone, Copy)]
pub struct Object {
    /// Where it lies.
    pub address: *const u8,
    /// The run that reads it.
    pub env: Env,
}

impl Object {
    /// The address as a number that only identifies.
    #[inline(always)]
    pub fn id(self) -> u64 {
        self.address as u64
    }

    /// Whether there is no object.
    #[inline(always)]
    pub fn is_null(self) -> bool {
        self.address.is_null()
    }

    /// What lies `offset` bytes behind the beginning.
    #[inline(always)]
    pub fn beyond(self, offset: usize) -> Object {
        self.env.object(self.address.wrapping_add(offset))
    }

    /// A plain value, `offset` bytes behind the beginning.
    #[inline(always)]
    pub fn at<T>(self, offset: usize) -> Result<T> {
        // SAFETY: the helper checks the address and copies; `T` is an integer or an array of
        // integers wherever this is called.
        unsafe { probe_read(self.address.wrapping_add(offset).cast()) }.map_err(|_| Unreadable)
    }

    /// A field that is a plain integer or array of bytes of `T`'s size.
    #[inline(always)]
    pub fn get<T>(self, field: Field) -> Result<T> {
        self.at(self.env.offset(field))
    }

    /// A byte of an argument of a tracing program (fentry, fexit), which the verifier lets be read like
    /// memory of the program's own: one instruction in place of a helper's hundred.
    ///
    /// # Safety
    ///
    /// The object is the argument as it came; the verifier refuses anything else.
    #[inline(always)]
    pub unsafe fn byte_of_argument(self, field: Field) -> u8 {
        // SAFETY: as above; should the memory be gone, the kernel reads 0 (BPF_PROBE_MEM).
        unsafe { read_volatile(self.address.wrapping_add(self.env.offset(field))) }
    }

    /// A field of up to 25 bits at any bit position, or of 32 aligned bits; 0 when this kernel
    /// does not have it.
    #[inline(always)]
    pub fn bits(self, field: Field) -> Result<u32> {
        let at = self.env.field(field);
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
        Ok(self.env.object_at(address))
    }

    /// Copies `len` bytes, at most `into.len()`, from `offset`.
    #[inline(always)]
    pub fn copy<const N: usize>(self, offset: usize, into: &mut [u8; N], len: usize) -> Result<()> {
        let len = if len > N { N } else { len };
        // SAFETY: `len` is at most the size of `into`; the helper checks the source.
        let status = unsafe {
            copy(
                into.as_mut_ptr().cast(),
                len as u32,
                self.address.wrapping_add(offset).cast(),
            )
        };
        if status == 0 { Ok(()) } else { Err(Unreadable) }
    }
}
