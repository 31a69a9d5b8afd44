//! The program that shows what the peers of suspects do, for `scan --confirm`, and nothing else of
//! the object.
//!
//! Unlike everything else in this module, this makes map system calls while the program is
//! attached: suspects come from outside of the kernel. A kprobe that is skipped meanwhile costs
//! evidence, never a wrong verdict (`tcpwnd_core::scan::Peer`).

use aya::maps::{HashMap, MapError};
use aya::{Ebpf, Pod};
use tcpwnd_common::{Counter, FlowKey, Probe, SUSPECT_LIMIT, Suspect};

use super::attach::fentry_btf;
use super::facts::KernelFacts;
use super::hook::{Carried, Workshop, candidates};
use super::mapped::Counters;
use super::object::{self, Purpose};
use super::table::Hook;
use super::{AttachError, Settings};
use crate::kernel::host::Host;
use crate::transport::{Lost, Records};

/// Suspects that can be watched at once.
pub const LIMIT: usize = SUSPECT_LIMIT as usize;

/// Where it goes, and by what.
pub(super) static PROGRESS: Hook = Hook {
    probe: Probe::SelectWindow,
    functions: &["tcp_select_window", "__tcp_select_window"],
    fentry: &["peer_progress_fentry"],
    kprobe: &["peer_progress_kprobe"],
    raw_tracepoint: None,
    dispensable: None,
};

/// A flow as aya wants its keys.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Key(FlowKey);

/// What the program keeps, as aya wants its values.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Value(Suspect);

// SAFETY: made of integers without padding, as tcpwnd-common asserts at compile time.
unsafe impl Pod for Key {}
// SAFETY: as above.
unsafe impl Pod for Value {}

/// Suspects under watch. Dropping it detaches the program.
pub struct Suspects {
    hook: Carried,
    ebpf: Ebpf,
    records: Option<Records>,
    lost: Lost,
    counters: Counters,
}

impl Suspects {
    /// Puts at most [`LIMIT`] suspects under watch.
    ///
    /// # Errors
    ///
    /// One line each, with the way out: see [`AttachError`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn watch(settings: &Settings, flows: &[FlowKey]) -> Result<Self, AttachError> {
        let facts = KernelFacts::read(settings)?;
        let table = facts.offsets.table;
        let loaded = object::load(settings, &facts.btf, table, Purpose::Suspects, &facts.host)?;
        let mut ebpf = loaded.ebpf;
        put(&mut ebpf, flows).map_err(|error| refused(error, &facts.host))?;
        let btf = fentry_btf(settings.mechanism);
        let mut shop = Workshop {
            ebpf: &mut ebpf,
            btf: btf.as_ref().map_err(String::as_str),
            host: &facts.host,
        };
        let ways = candidates(&PROGRESS, settings.mechanism, |name| facts.presence(name));
        let mut hook = Carried::load(&PROGRESS, ways, &mut shop)?;
        hook.attach(&mut shop)?;
        Ok(Self {
            hook,
            ebpf,
            lost: loaded.records.lost(),
            records: Some(loaded.records),
            counters: loaded.counters,
        })
    }

    /// The source of records; it can be taken once.
    pub fn take_events(&mut self) -> Option<Records> {
        self.records.take()
    }

    /// Leaves one alone from now on.
    pub fn release(&mut self, flow: FlowKey) {
        if let Ok(mut suspects) = flows(&mut self.ebpf) {
            // It is gone already where it cannot be removed.
            let _ = suspects.remove(&Key(flow));
        }
    }

    /// Records that found no room on their way.
    #[must_use]
    pub fn lost(&self) -> u64 {
        // Programs do not know of all of them up to 5.0, and there are no others.
        let lost = self.lost.count();
        self.counters.snapshot().get(Counter::WindowsLost).max(lost)
    }

    /// Takes the program off; what is on its way can still be read.
    pub fn detach(&mut self) {
        self.hook.detach();
    }
}

type Flows<'a> = HashMap<&'a mut aya::maps::MapData, Key, Value>;

fn flows(ebpf: &mut Ebpf) -> Result<Flows<'_>, MapError> {
    HashMap::try_from(ebpf.map_mut("SUSPECTS").ok_or(MapError::ElementNotFound)?)
}

fn put(ebpf: &mut Ebpf, suspects: &[FlowKey]) -> Result<(), MapError> {
    let suspects = &suspects[..suspects.len().min(LIMIT)];
    let mut map = flows(ebpf)?;
    for flow in suspects {
        map.insert(Key(*flow), Value(Suspect::default()), 0)?;
    }
    let map = ebpf.map_mut("SUSPECT_PORTS");
    let mut ports: HashMap<_, u32, u32> = HashMap::try_from(map.ok_or(MapError::ElementNotFound)?)?;
    for flow in suspects {
        let [local, remote] = [flow.local_port, flow.remote_port].map(u16::to_be);
        ports.insert(u32::from(local) << 16 | u32::from(remote), 1, 0)?;
    }
    Ok(())
}

fn refused(source: MapError, host: &Host) -> AttachError {
    object::refused(source.into(), host)
}

#[cfg(test)]
#[path = "suspects_vm_tests.rs"]
mod vm_tests;
