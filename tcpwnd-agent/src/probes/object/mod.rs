//! The object with the programs: its constants, the sizes of its maps, and loading it.

use std::os::fd::AsFd;

use aya::maps::{Map, MapData, MapError, RingBuf};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use tcpwnd_common::{Config, FieldTable, LISTENER_SLOTS, ROLE_CLIENT, ROLE_SERVER};

use super::mapped::{Counters, Listeners};
use super::{AttachError, Settings};
use crate::kernel::btf::{KernelBtf, Telling};
use crate::kernel::features::errno;
use crate::kernel::preflight::{Action, Host};
use crate::transport::Ring;

static RING: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwnd-ebpf.o"));
#[cfg(test)]
static PERF: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwnd-ebpf-perf.o"));

/// Entries of an LRU map a CPU below which it loses them early: each CPU keeps up to 128 to
/// itself (LOCAL_FREE_TARGET in kernel/bpf/bpf_lru_list.c), and trouble begins near that.
pub const ENTRIES_PER_CPU: usize = 1024;

/// A record of the ABI as aya wants its constants.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Constant<T: Copy>(T);

// SAFETY: made of integers without padding, as tcpwnd-common asserts at compile time.
unsafe impl Pod for Constant<FieldTable> {}
// SAFETY: as above.
unsafe impl Pod for Constant<Config> {}

/// The object in the kernel: maps made, programs not loaded yet.
pub struct Loaded {
    /// The programs, and the maps that only they use.
    pub ebpf: Ebpf,
    /// The records.
    pub ring: Ring,
    /// The counters.
    pub counters: Counters,
    /// The counters per listener.
    pub listeners: Listeners,
}

/// Makes the maps and injects the constants. `synproxy`: netfilter's SYN proxy is there.
///
/// # Errors
///
/// When the kernel refuses a map.
pub fn load(
    settings: &Settings,
    btf: &KernelBtf,
    fields: FieldTable,
    synproxy: bool,
    host: &Host,
) -> Result<Loaded, AttachError> {
    let cpus = nr_cpus().map_err(|(path, error)| AttachError::Cpus { path, error })?;
    let at_least = u32::try_from(cpus * ENTRIES_PER_CPU).unwrap_or(u32::MAX);
    // Memory is taken for all entries at once: none for what is not looked at.
    let entries = |role| match settings.config.roles & role {
        0 => at_least,
        _ => settings.handshakes.max(at_least),
    };
    // A map has at least one entry.
    let proxied = if synproxy { entries(ROLE_SERVER) } else { 1 };
    let fields = Constant(fields);
    let config = Constant(settings.config);
    // The kernel passed the SYN from 5.10 on, and dropped __cookie_v4_check's MSS in 6.8.
    let syn_skb = u32::from(btf.parameters(Telling::MakeSynack).is_none_or(|n| n >= 6));
    let hash_args = parameters(btf, Telling::CookieCheck, 2);
    let check_args = parameters(btf, Telling::CheckReq, 6);
    let bpf_requests = u32::from(btf.parameters(Telling::AssignReqsk).is_some());
    let mut ebpf = EbpfLoader::new()
        .btf(None)
        .override_global("FIELDS", &fields, true)
        .override_global("CONFIG", &config, true)
        .override_global("SYN_SKB_ARG", &syn_skb, true)
        .override_global("COOKIE_HASH_ARGS", &hash_args, true)
        .override_global("CHECK_REQ_ARGS", &check_args, true)
        .override_global("BPF_REQUESTS", &bpf_requests, true)
        .map_max_entries("EVENTS", settings.ring_bytes)
        .map_max_entries("HANDSHAKES", entries(ROLE_SERVER))
        .map_max_entries("PROXIED", proxied)
        .map_max_entries("CONNECTS", entries(ROLE_CLIENT))
        .map_max_entries("NOTED_CHANGES", at_least)
        .map_max_entries("COUNTERS", u32::try_from(cpus).unwrap_or(u32::MAX))
        .load(RING)
        .map_err(|source| refused(source, host))?;
    #[cfg(feature = "debug-log")]
    super::log::start(&mut ebpf).map_err(mapping("AYA_LOGS"))?;
    let ring = ring(&mut ebpf)?;
    // Their maps stay with the programs: those refer to them by descriptor until they are loaded.
    let counters =
        Counters::new(array(&ebpf, "COUNTERS")?.fd().as_fd(), cpus).map_err(mapping("COUNTERS"))?;
    let slots = LISTENER_SLOTS as usize;
    let listeners = Listeners::new(array(&ebpf, "LISTENER_SLOTS")?.fd().as_fd(), slots)
        .map_err(mapping("LISTENER_SLOTS"))?;
    Ok(Loaded {
        ebpf,
        ring,
        counters,
        listeners,
    })
}

fn parameters(btf: &KernelBtf, function: Telling, usual: u32) -> u32 {
    btf.parameters(function)
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(usual)
}

fn ring(ebpf: &mut Ebpf) -> Result<Ring, AttachError> {
    let map = ebpf
        .take_map("EVENTS")
        .ok_or(AttachError::Incomplete("map EVENTS"))?;
    let buffer = RingBuf::try_from(map).map_err(|_| AttachError::Incomplete("ring EVENTS"))?;
    Ring::new(buffer).map_err(mapping("EVENTS"))
}

fn array<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a MapData, AttachError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(AttachError::Incomplete(name)),
    }
}

fn mapping(map: &'static str) -> impl Fn(std::io::Error) -> AttachError {
    move |error| AttachError::Map { map, error }
}

/// What the kernel says to the object or to one of its maps.
pub fn refused(source: EbpfError, host: &Host) -> AttachError {
    let what = match &source {
        EbpfError::MapError(MapError::CreateError { name, .. }) => format!("map {name}"),
        _ => "the object".to_owned(),
    };
    let reason = match errno(&source) {
        Some(errno) => {
            let explained = host.explain(Action::CreateMap, errno);
            explained.unwrap_or_else(|bare| bare)
        }
        None => source.to_string(),
    };
    AttachError::Object {
        what,
        reason,
        source: Box::new(source),
    }
}

#[cfg(test)]
mod rules;
#[cfg(test)]
mod rules_tests;
