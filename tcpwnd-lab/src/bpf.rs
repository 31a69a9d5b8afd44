//! A BPF map of the laboratory's own, for disturbing others: every map system call switches the
//! kernel's probe programs off on its CPU for as long as it takes (KERNEL: `bpf_prog_active`).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

// From enum bpf_cmd and enum bpf_map_type, include/uapi/linux/bpf.h.
const MAP_CREATE: i64 = 0;
const MAP_LOOKUP_ELEM: i64 = 1;
const MAP_TYPE_ARRAY: u32 = 2;

/// Entries of the map, and the size of each in bytes. The larger, the longer a lookup copies, and
/// the more of the time the kernel skips probe programs.
const ENTRIES: u32 = 1 << 14;
const SIZE: u32 = 1 << 10;

/// The beginning of `union bpf_attr` as BPF_MAP_CREATE reads it.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// The beginning of `union bpf_attr` as BPF_MAP_LOOKUP_ELEM reads it.
#[repr(C)]
struct Lookup {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// How nice the threads are. Packets are handled in the midst of their lookups all the same, and
/// those are what matters; at the niceness of everybody else the threads would only keep agent,
/// clients and server waiting for their turn.
const NICE: libc::c_int = 10;

/// Threads that look up entries of a map as fast as they can, one pinned to each of the first
/// CPUs. They stop when this is dropped.
#[derive(Debug)]
pub struct Lookups {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Lookups {
    /// Starts on the first `cpus` CPUs.
    ///
    /// # Errors
    /// Without CAP_BPF.
    pub fn start(cpus: usize) -> Result<Self> {
        let map = Arc::new(create()?);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..cpus)
            .map(|cpu| {
                let (map, stop) = (Arc::clone(&map), Arc::clone(&stop));
                std::thread::spawn(move || look_up(&map, cpu, &stop))
            })
            .collect();
        Ok(Self { stop, threads })
    }

    /// Stops, and returns how many lookups were made.
    #[must_use]
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.threads
            .drain(..)
            .filter_map(|thread| thread.join().ok())
            .sum()
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // Its count is of no interest any more.
            let _ = thread.join();
        }
    }
}

/// Lifts the limit on locked memory, to which kernels before 5.11 charge maps and programs. Where that
/// fails, the map or the program tells.
pub fn lift_memlock_limit() {
    let all = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the pointer is to a valid limit, which outlives the call.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) };
}

fn create() -> Result<OwnedFd> {
    lift_memlock_limit();
    let attributes = Create {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: SIZE,
        max_entries: ENTRIES,
        flags: 0,
    };
    let descriptor = call(MAP_CREATE, &attributes).context("failed to create a map")?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

fn look_up(map: &OwnedFd, cpu: usize, stop: &AtomicBool) -> u64 {
    // SAFETY: all-zero is a valid cpu_set_t; the calls only touch that set, and this thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
        // Zero is this thread alone: on Linux niceness is a thread's (setpriority(2), "C
        // library/kernel differences").
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
    let mut value = [0u8; SIZE as usize];
    let mut count = 0u64;
    while !stop.load(Ordering::Acquire) {
        let key = (count % u64::from(ENTRIES)) as u32;
        let attributes = Lookup {
            map: map.as_raw_fd() as u32,
            padding: 0,
            key: &raw const key as u64,
            value: value.as_mut_ptr() as u64,
            flags: 0,
        };
        if call(MAP_LOOKUP_ELEM, &attributes).is_ok() {
            count += 1;
        }
    }
    count
}

/// Makes a bpf(2) call with the beginning of its attributes.
pub fn call<T>(command: i64, attributes: &T) -> io::Result<i64> {
    // SAFETY: the pointer and the size are those of `attributes`; pointers in it are to a key and
    // a value of the map's sizes, which outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes as *const T,
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
