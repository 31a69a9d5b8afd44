//! The objects with the programs: their constants, the sizes of their maps, and loading one.
//!
//! There are two, from the same sources: one for the ring buffer, one for perf buffers.

mod flags;
mod perf;
mod ring;

use std::os::fd::AsFd;

use aya::maps::{Map, MapData, MapError};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfError, EbpfLoader, Pod, VerifierLogLevel};
use tcpwnd_common::{
    Config, FieldTable, KernelTraits, LISTENER_SLOTS, ROLE_CLIENT, ROLE_SERVER, SUSPECT_LIMIT,
    Settings as Constants,
};

use super::mapped::{Counters, Listeners};
use super::{AttachError, Settings, TransportChoice};
use crate::kernel::btf::{KernelBtf, Telling};
use crate::kernel::features::{self, Support, errno};
use crate::kernel::host::Host;
use crate::kernel::preflight::Action;
use crate::transport::{Records, Transport};

static RING: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwnd-ebpf.o"));
static PERF: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpwnd-ebpf-perf.o"));

/// Free entries of an LRU map that each CPU may keep to itself (LOCAL_FREE_TARGET in
/// kernel/bpf/bpf_lru_list.c).
const KEPT_PER_CPU: usize = 128;

/// Entries of an LRU map a CPU below which it loses them early: trouble begins near
/// [`KEPT_PER_CPU`].
pub const ENTRIES_PER_CPU: usize = 1024;

/// What the programs are loaded for: memory is taken for all entries of a map at once, and none for
/// what is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Handshakes and connections; of netfilter's SYN proxy, too, where it is there.
    Connections {
        /// It is.
        synproxy: bool,
    },
    /// The suspects of `scan --confirm`.
    Suspects,
}

/// A record of the ABI as aya wants its constants.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Constant<T: Copy>(T);

// SAFETY: made of integers without padding, as tcpwnd-common asserts at compile time.
unsafe impl Pod for Constant<FieldTable> {}
// SAFETY: as above.
unsafe impl Pod for Constant<Config> {}
// SAFETY: as above.
unsafe impl Pod for Constant<Constants> {}

/// The object in the kernel: maps made, programs not loaded yet.
pub struct Loaded {
    /// The programs, and the maps that only they use.
    pub ebpf: Ebpf,
    /// The records.
    pub records: Records,
    /// The counters.
    pub counters: Counters,
    /// The counters per listener.
    pub listeners: Listeners,
}

/// What the object gets, whichever it is.
struct Parts<'a> {
    settings: &'a Settings,
    fields: FieldTable,
    traits: KernelTraits,
    /// Possible ones.
    cpus: usize,
    purpose: Purpose,
    host: &'a Host,
}

/// Makes the maps and injects the constants.
///
/// # Errors
///
/// When the kernel refuses a map, or a perf buffer.
pub fn load(
    settings: &Settings,
    btf: &KernelBtf,
    fields: FieldTable,
    purpose: Purpose,
    host: &Host,
) -> Result<Loaded, AttachError> {
    let parts = Parts {
        settings,
        fields,
        traits: traits(btf),
        cpus: nr_cpus().map_err(|(path, error)| AttachError::Cpus { path, error })?,
        purpose,
        host,
    };
    match transport(settings.transport, host).0 {
        Transport::Ring => ring::load(&parts),
        Transport::Perf => perf::load(&parts),
    }
}

/// What carries records here, and why.
pub fn transport(choice: TransportChoice, host: &Host) -> (Transport, String) {
    let asked = || "asked for".to_owned();
    match choice {
        TransportChoice::Ring => (Transport::Ring, asked()),
        TransportChoice::Perf => (Transport::Perf, asked()),
        TransportChoice::Auto => match features::ring_buffer(host) {
            Support::Unsupported(why) => (Transport::Perf, why),
            Support::Supported => (Transport::Ring, "this kernel has it".to_owned()),
            // What forbids the ring forbids perf buffers too, and loading says what to do.
            Support::Forbidden(_) => (
                Transport::Ring,
                "whether this kernel has it cannot be told".to_owned(),
            ),
        },
    }
}

/// What the programs need to know of this kernel beside fields.
fn traits(btf: &KernelBtf) -> KernelTraits {
    KernelTraits {
        // The kernel passed the SYN from 5.10 on, and dropped __cookie_v4_check's MSS in 6.8.
        syn_skb_arg: u32::from(btf.parameters(Telling::MakeSynack).is_none_or(|n| n >= 6)),
        cookie_hash_args: parameters(btf, Telling::CookieCheck, 2),
        check_req_args: parameters(btf, Telling::CheckReq, 6),
        bpf_requests: u32::from(btf.parameters(Telling::AssignReqsk).is_some()),
    }
}

fn parameters(btf: &KernelBtf, function: Telling, usual: u32) -> u32 {
    btf.parameters(function)
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(usual)
}

#[cfg(test)]
thread_local! {
    /// What a test on this thread asks the verifier to write about programs that are refused.
    pub static VERIFIER_LOG: std::cell::Cell<VerifierLogLevel> =
        const { std::cell::Cell::new(VerifierLogLevel::DEBUG.union(VerifierLogLevel::STATS)) };
}

#[cfg(test)]
fn verifier_log() -> VerifierLogLevel {
    VERIFIER_LOG.get()
}

/// Each step, and what it took.
#[cfg(not(test))]
const fn verifier_log() -> VerifierLogLevel {
    VerifierLogLevel::DEBUG.union(VerifierLogLevel::STATS)
}

/// A loader that knows the sizes of the maps that both objects have.
fn loader<'a>(parts: &Parts<'_>) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.btf(None).verifier_log_level(verifier_log());
    for (map, entries) in sizes(parts) {
        loader.map_max_entries(map, entries);
    }
    loader
}

/// Their entries, at least one. Those that are not named have as many as the object says.
fn sizes(parts: &Parts<'_>) -> [(&'static str, u32); 7] {
    let roles = parts.settings.config.roles;
    let only = |wanted, entries| if wanted { entries } else { 1 };
    let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
    let at_least = number(parts.cpus * ENTRIES_PER_CPU);
    let usable = parts.settings.handshakes;
    let handshakes = usable.saturating_add(number(parts.cpus * KEPT_PER_CPU));
    let handshakes = handshakes.max(at_least);
    let connections = parts.purpose != Purpose::Suspects;
    let synproxy = parts.purpose == Purpose::Connections { synproxy: true };
    let (serves, connects) = (roles & ROLE_SERVER != 0, roles & ROLE_CLIENT != 0);
    [
        (
            "HANDSHAKES",
            only(connections, if serves { handshakes } else { at_least }),
        ),
        ("PROXIED", only(synproxy && serves, handshakes)),
        ("CONNECTS", only(connections && connects, handshakes)),
        ("SUSPECTS", only(!connections, SUSPECT_LIMIT)),
        ("SUSPECT_PORTS", only(!connections, SUSPECT_LIMIT)),
        ("NOTED_CHANGES", at_least),
        ("COUNTERS", number(parts.cpus)),
    ]
}

/// Counters in memory that the programs write. Their maps stay with the programs: those refer to them
/// by descriptor until they are loaded.
fn mapped(ebpf: &Ebpf, cpus: usize) -> Result<(Counters, Listeners), AttachError> {
    let counters = array(ebpf, "COUNTERS")?.fd().as_fd();
    let listeners = array(ebpf, "LISTENER_SLOTS")?.fd().as_fd();
    Ok((
        Counters::new(counters, cpus).map_err(mapping("COUNTERS"))?,
        Listeners::new(listeners, LISTENER_SLOTS as usize).map_err(mapping("LISTENER_SLOTS"))?,
    ))
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
pub use perf::WITHOUT_NEWER_FLAGS;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod rules_tests;
