//! The object for perf buffers: settings are in a map, and whatever is newer than 4.14 is added where
//! the kernel has it.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::perf::PerfBufferError;
use aya::maps::{Array, PerfEventArray};
use aya::util::online_cpus;
use aya::{Ebpf, EbpfError};
use tcpwnd_common::{LISTENER_SLOTS, PortRange, PortSet, Settings as Constants};

use super::{Constant, Loaded, PERF, Parts, array, flags, loader, mapped, mapping, refused};
use crate::kernel::features::errno;
use crate::kernel::preflight::Action;
use crate::probes::AttachError;
use crate::probes::mapped::{Counters, Listeners};
use crate::transport::{Buffer, Perf, Records};

/// BPF_F_MMAPABLE (include/uapi/linux/bpf.h), from 5.5 on.
const MAPPABLE: u32 = 1 << 10;
/// BPF_F_RDONLY_PROG, from 5.2 on.
const READ_ONLY: u32 = 1 << 7;
/// BPF_MAP_FREEZE, from 5.2 on.
const FREEZE: libc::c_long = 22;

pub fn load(parts: &Parts<'_>) -> Result<Loaded, AttachError> {
    let (mut ebpf, newer) = maps(parts)?;
    constants(&mut ebpf, parts)?;
    if newer {
        // From 5.5 on the verifier takes for constants what cannot change any more: branches for
        // what this kernel lacks disappear, as fexit needs it.
        freeze(array(&ebpf, "SETTINGS")?.fd().as_fd()).map_err(mapping("SETTINGS"))?;
    }
    let map = ebpf
        .take_map("EVENTS")
        .ok_or(AttachError::Incomplete("map EVENTS"))?;
    let events =
        PerfEventArray::try_from(map).map_err(|_| AttachError::Incomplete("array EVENTS"))?;
    let perf = Perf::new(buffers(events, parts)?).map_err(mapping("EVENTS"))?;
    let (counters, listeners) = if newer {
        mapped(&ebpf, parts.cpus)?
    } else {
        (
            Counters::looked_up(array(&ebpf, "COUNTERS")?.fd().as_fd(), parts.cpus)
                .map_err(mapping("COUNTERS"))?,
            Listeners::looked_up(
                array(&ebpf, "LISTENER_SLOTS")?.fd().as_fd(),
                LISTENER_SLOTS as usize,
            )
            .map_err(mapping("LISTENER_SLOTS"))?,
        )
    };
    Ok(Loaded {
        ebpf,
        records: Records::Perf(perf),
        counters,
        listeners,
    })
}

/// Makes the maps, with the flags that kernels from 5.5 on know, else without. Whether with.
fn maps(parts: &Parts<'_>) -> Result<(Ebpf, bool), AttachError> {
    let newer = [
        ("COUNTERS", MAPPABLE),
        ("LISTENER_SLOTS", MAPPABLE),
        ("SETTINGS", READ_ONLY),
    ];
    let with_flags = flags::with(PERF, &newer).ok_or(AttachError::Incomplete("map SETTINGS"))?;
    let mut last = None;
    for (object, newer) in [(Cow::Owned(with_flags), true), (Cow::Borrowed(PERF), false)] {
        if newer && without_newer_flags() {
            continue;
        }
        match loader(parts).load(&object) {
            Ok(ebpf) => return Ok((ebpf, newer)),
            // array_map_alloc_check (kernel/bpf/arraymap.c) says so to a flag that it does not know.
            Err(error) if newer && errno(&error) == Some(libc::EINVAL) => last = Some(error),
            Err(error) => return Err(refused(error, parts.host)),
        }
    }
    let last = last.map(|error| refused(error, parts.host));
    Err(last.unwrap_or(AttachError::Incomplete("map SETTINGS")))
}

#[cfg(test)]
thread_local! {
    /// To a test on this thread the kernel is one before 5.2.
    pub static WITHOUT_NEWER_FLAGS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
fn without_newer_flags() -> bool {
    WITHOUT_NEWER_FLAGS.get()
}

/// Where a flag is not known, the kernel says so when the map is made.
#[cfg(not(test))]
const fn without_newer_flags() -> bool {
    false
}

/// Gives the programs their settings.
fn constants(ebpf: &mut Ebpf, parts: &Parts<'_>) -> Result<(), AttachError> {
    let config = parts.settings.config;
    let ranges = |all, count| PortSet::of(valid(all, count));
    let constants = Constant(Constants {
        ports: ranges(&config.port_ranges, config.port_range_count),
        remote_ports: ranges(&config.remote_port_ranges, config.remote_port_range_count),
        fields: parts.fields,
        config,
        kernel: parts.traits,
        reserved: [Default::default(); _],
    });
    let map = ebpf
        .map_mut("SETTINGS")
        .ok_or(AttachError::Incomplete("map SETTINGS"))?;
    Array::<_, Constant<Constants>>::try_from(map)
        .and_then(|mut map| map.set(0, constants, 0))
        .map_err(|error| refused(EbpfError::MapError(error), parts.host))
}

fn valid(all: &[PortRange], count: u32) -> &[PortRange] {
    &all[..all.len().min(count as usize)]
}

/// Nothing changes it from here on.
fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    // Of union bpf_attr only the descriptor is asked for.
    let descriptor = map.as_raw_fd();
    let len = size_of_val(&descriptor);
    // SAFETY: the kernel reads as many bytes as it is told.
    let result = unsafe { libc::syscall(libc::SYS_bpf, FREEZE, &raw const descriptor, len) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Opens the buffer of each CPU that is online. What programs send on another one is lost, and counted
/// by them.
fn buffers(
    mut events: PerfEventArray<aya::maps::MapData>,
    parts: &Parts<'_>,
) -> Result<Vec<Buffer>, AttachError> {
    let pages = pages(parts.settings.perf_bytes);
    let cpus = online_cpus().map_err(|(path, error)| AttachError::Cpus { path, error })?;
    let mut buffers = Vec::with_capacity(cpus.len());
    for cpu in cpus {
        let buffer = events
            .open(cpu, Some(pages))
            .map_err(|source| unopened(cpu, source, parts))?;
        buffers.push(buffer);
    }
    Ok(buffers)
}

/// As many pages as this many bytes are, at least one.
fn pages(bytes: u32) -> usize {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).unwrap_or(4096).max(1);
    (bytes as usize / page).max(1)
}

fn unopened(cpu: u32, source: PerfBufferError, parts: &Parts<'_>) -> AttachError {
    let action = match source {
        PerfBufferError::MMapError { .. } => Action::MapPerfBuffer,
        _ => Action::OpenPerfBuffer,
    };
    let reason = match errno(&source) {
        Some(errno) => {
            let explained = parts.host.explain(action, errno);
            explained.unwrap_or_else(|bare| bare)
        }
        None => source.to_string(),
    };
    AttachError::PerfBuffer {
        cpu,
        reason,
        source,
    }
}
