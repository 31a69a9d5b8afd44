//! The only place that reads kernel memory.
//!
//! A read goes through `bpf_probe_read_kernel`, or through `bpf_probe_read` in the perf buffer object
//! (the former came with 5.5), and can fail. Of what a tracing program (fentry, fexit) gets as an
//! argument the verifier knows the type, and lets its fields be loaded by one instruction in place of a
//! helper's hundred; should the memory be gone, that gives 0 (BPF_PROBE_MEM).

use crate::env::Env;
#[cfg(feature = "perf")]
use aya_ebpf::helpers::{bpf_probe_read as probe_read, generated::bpf_probe_read as copy};
#[cfg(not(feature = "perf"))]
use aya_ebpf::helpers::{
    bpf_probe_read_kernel as probe_read, generated::bpf_probe_read_kernel as copy,
};
use core::mem::transmute;
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
    /// Whether the verifier knows its type. Known while compiling, as everything here is inlined.
    pub typed: bool,
}

/// Whether a field lies in a struct that arguments are declared as, or that these point to; what lies
/// behind it (a `tcp_sock` is declared `sock`) is out of bounds to the verifier.
#[inline(always)]
const fn is_declared(field: Field) -> bool {
    matches!(
        field,
        // sock_common, of sockets and requests
        Field::Family
            | Field::State
            | Field::RemotePort
            | Field::LocalPort
            | Field::RemoteAddr4
            | Field::LocalAddr4
            | Field::RemoteAddr6
            | Field::LocalAddr6
            | Field::BoundIfindex
            | Field::Net
            // net
            | Field::NetInum
            | Field::NetTcpRmemMax
            | Field::NetTcpWindowScaling
            | Field::NetTcpTimestamps
            | Field::NetTcpAdvWinScale
            // sock
            | Field::RcvBuf
            | Field::UserLocks
            | Field::RcvLowat
            | Field::Socket
            | Field::AckBacklog
            | Field::MaxAckBacklog
            | Field::Drops
            | Field::DstCache
            // dst_entry
            | Field::DstMetrics
            // request_sock
            | Field::ReqSyncookie
            | Field::ReqWindowClamp
            // sk_buff
            | Field::SkbHead
            | Field::SkbTransportHeader
            | Field::SkbNetworkHeader
    )
}

/// What can be read: integers, and addresses as bytes in network order.
pub trait Value: Copy {
    /// Loads it, in as few instructions as there are for its size.
    ///
    /// # Safety
    ///
    /// The verifier knows the type of what lies there.
    unsafe fn load(from: *const u8) -> Self;
}

macro_rules! integers {
    ($($integer:ty)+) => {
        $(impl Value for $integer {
            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller's; volatile because the kernel may change it meanwhile.
                unsafe { read_volatile(from.cast()) }
            }
        })+
    };
}

integers!(u8 u16 u32 u64 i32);

impl Value for [u8; 4] {
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's.
        unsafe { u32::load(from) }.to_ne_bytes()
    }
}

impl Value for [u8; 16] {
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's.
        let halves = unsafe { [u64::load(from), u64::load(from.wrapping_add(8))] };
        // SAFETY: both are 16 bytes without padding.
        unsafe { transmute(halves) }
    }
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

    /// The same, to be read by the helper.
    #[inline(always)]
    pub fn untyped(self) -> Object {
        self.env.object(self.address)
    }

    /// What lies `offset` bytes behind the beginning.
    #[inline(always)]
    pub fn beyond(self, offset: usize) -> Object {
        self.env.object(self.address.wrapping_add(offset))
    }

    /// A plain value, `offset` bytes behind the beginning.
    #[inline(always)]
    pub fn at<T: Value>(self, offset: usize) -> Result<T> {
        // SAFETY: the helper checks the address and copies; `T` is made of integers.
        unsafe { probe_read(self.address.wrapping_add(offset).cast()) }.map_err(|_| Unreadable)
    }

    /// A field that is a plain integer or array of bytes of `T`'s size.
    #[inline(always)]
    pub fn get<T: Value>(self, field: Field) -> Result<T> {
        let offset = self.env.offset(field);
        if self.typed && is_declared(field) {
            // SAFETY: that is what `typed` says.
            return Ok(unsafe { T::load(self.address.wrapping_add(offset)) });
        }
        self.at(offset)
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
        Ok((word >> (at.bit as u32 & 7)) & mask(at.width) as u32)
    }

    /// The lowest byte of a field, or all of one that lies within a byte; 0 when this kernel does not
    /// have it.
    #[inline(always)]
    pub fn low(self, field: Field) -> Result<u8> {
        if !(self.typed && is_declared(field)) {
            return self.bits(field).map(|bits| bits as u8);
        }
        let at = self.env.field(field);
        if !at.is_present() {
            return Ok(0);
        }
        let byte: u8 = self.get(field)?;
        Ok((byte >> (at.bit & 7)) & mask(at.width) as u8)
    }

    /// A field that points to another object.
    #[inline(always)]
    pub fn follow(self, field: Field) -> Result<Object> {
        let address: u64 = self.get(field)?;
        Ok(Object {
            typed: self.typed && is_declared(field),
            ..self.env.object_at(address)
        })
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

/// As many ones as a field has bits.
#[inline(always)]
fn mask(width: u8) -> u64 {
    (1u64 << (width as u64 & 63)) - 1
}
