//! Attaches hook by hook, and owns what is attached.
//!
//! Constraint: everything is loaded before anything is attached, so that little time passes
//! between the first hook and the last; and whatever fails, nothing stays attached.

use std::path::Path;

use aya::{Btf, Ebpf};
use tcpwnd_common::{Counter, ListenerSlot, Probe};

use super::facts::KernelFacts;
use super::failure::one_line;
use super::hook::{Carried, Workshop, candidates};
use super::mapped::{Counters, Listeners};
use super::object::Purpose;
use super::startup::{Startup, Stopwatch};
use super::table::{self, HOOKS, Hook, NO_SYNPROXY, SYNPROXY, SYNPROXY_MARK, WINDOW};
use super::unseen::{Reading, Unseen};
use super::{
    AttachError, CountersSnapshot, Mechanism, MechanismChoice, ProbeStatus, Settings, object,
    program,
};
use crate::kernel::Degradation;
use crate::kernel::btf::{self, Telling};
use crate::kernel::host::Host;
use crate::kernel::symbols::{Presence, Symbols};
use crate::transport::{Lost, Records, Transport};

/// A hook that is not there.
struct Absent {
    probe: Probe,
    reason: String,
}

/// Everything that is attached; dropping it detaches and unloads all of it.
pub struct Attached {
    hooks: Vec<Carried>,
    synproxy: Vec<Carried>,
    window: Option<Carried>,
    absent: Vec<Absent>,
    ebpf: Ebpf,
    records: Option<Records>,
    transport: Transport,
    lost: Lost,
    counters: Counters,
    listeners: Listeners,
    degradations: Vec<Degradation>,
    watching_since_ktime_ns: u64,
    unseen: Unseen,
    kprobe_misses_are_counted: bool,
    rcvbuf_sets_clamp: bool,
    startup: Startup,
    host: Host,
}

/// Loads and attaches everything that `settings` ask for. All or nothing: after an error nothing
/// of it is left in the kernel.
///
/// # Errors
///
/// One line each, with the way out: see [`AttachError`].
///
/// # Panics
///
/// Outside of a tokio runtime with I/O enabled.
pub fn attach(settings: &Settings) -> Result<Attached, AttachError> {
    let mut watch = Stopwatch::start();
    let mut startup = Startup::default();
    let facts = KernelFacts::read(settings)?;
    let own_types = fentry_btf(settings.mechanism);
    startup.btf = watch.lap();
    let KernelFacts { btf, host, .. } = &facts;
    let mut degradations = facts.offsets.degradations.clone();
    if matches!(facts.symbols, Symbols::Unreadable) {
        degradations.push(Degradation {
            what: "a readable /proc/kallsyms",
            consequence: "functions are looked for in BTF, which does not list those of modules",
        });
    }
    let synproxy = facts.presence(SYNPROXY_MARK) == Presence::Present;
    let purpose = Purpose::Connections { synproxy };
    let loaded = object::load(settings, btf, facts.offsets.table, purpose, host)?;
    startup.maps = watch.lap();
    if loaded.counters.are_looked_up() {
        degradations.push(Degradation {
            what: "array maps that can be mapped into memory",
            consequence: "counters are read by system calls, which want capabilities: run keeps them",
        });
    }
    let mut attached = Attached {
        hooks: Vec::new(),
        synproxy: Vec::new(),
        window: None,
        absent: Vec::new(),
        ebpf: loaded.ebpf,
        transport: loaded.records.transport(),
        lost: loaded.records.lost(),
        records: Some(loaded.records),
        counters: loaded.counters,
        listeners: loaded.listeners,
        degradations,
        watching_since_ktime_ns: 0,
        unseen: Unseen::default(),
        // "bpf: Count missed stats in trace_call_bpf" came with this field, in 6.7.
        kprobe_misses_are_counted: btf.locate("bpf_link_info.perf_event.kprobe.missed").is_ok(),
        // As net/ipv4/tcp.c of 7.3 has it; 6.18 has not.
        rcvbuf_sets_clamp: btf.parameters(Telling::SetRcvbuf).is_some(),
        startup,
        host: facts.host,
    };
    attached.attach_all(settings, &own_types, &mut watch, |name| {
        facts.presence(name)
    })?;
    let mut unseen = Unseen::default();
    unseen.begin(|| attached.state_changes());
    attached.unseen = unseen;
    Ok(attached)
}

impl Attached {
    fn attach_all(
        &mut self,
        settings: &Settings,
        own_types: &Result<Btf, String>,
        watch: &mut Stopwatch,
        presence: impl Fn(&str) -> Presence,
    ) -> Result<(), AttachError> {
        let mut shop = Workshop {
            ebpf: &mut self.ebpf,
            btf: own_types.as_ref().map_err(String::as_str),
            host: &self.host,
        };
        let roles = settings.config.roles;
        let needed = |hook: &&Hook| table::is_needed(hook, roles);
        let synproxy = presence(SYNPROXY_MARK) == Presence::Present;
        for hook in SYNPROXY.iter().filter(needed) {
            let ways = candidates(hook, settings.mechanism, &presence);
            let carried = match synproxy {
                true => Carried::load(hook, ways, &mut shop).map_err(|error| error.to_string()),
                false => Err(NO_SYNPROXY.to_owned()),
            };
            match carried {
                Ok(carried) => self.synproxy.push(carried),
                // What it told a peer is not known then, and the verdict says so.
                Err(reason) => self.absent.push(absent(hook, &reason)),
            }
        }
        for hook in HOOKS.iter().filter(needed) {
            let ways = candidates(hook, settings.mechanism, &presence);
            match hook.dispensable {
                Some(reason) if ways.is_empty() => self.absent.push(absent(hook, reason)),
                _ => self.hooks.push(Carried::load(hook, ways, &mut shop)?),
            }
        }
        self.startup.load = watch.lap();
        for mut hook in std::mem::take(&mut self.synproxy) {
            match hook.attach(&mut shop) {
                Ok(()) => self.synproxy.push(hook),
                Err(error) => self.absent.push(absent(hook.hook, &error.to_string())),
            }
        }
        for hook in &mut self.hooks {
            hook.attach(&mut shop)?;
        }
        self.watching_since_ktime_ns = monotonic_ns();
        self.startup.attach = watch.lap();
        if settings.config.confirm != 0 {
            let choice = window_choice(&self.hooks, settings.mechanism);
            match Carried::load(&WINDOW, candidates(&WINDOW, choice, &presence), &mut shop) {
                Ok(window) => self.window = Some(window),
                // Verdicts do not rest on it: say so, and go on.
                Err(error) => self.absent.push(absent(&WINDOW, &error.to_string())),
            }
            self.startup.load += watch.lap();
        }
        Ok(())
    }

    /// The source of records; it can be taken once.
    pub fn take_events(&mut self) -> Option<Records> {
        self.records.take()
    }

    /// What starting took.
    #[must_use]
    pub fn startup(&self) -> Startup {
        self.startup
    }

    /// The programs' counters now.
    #[must_use]
    pub fn counters(&self) -> CountersSnapshot {
        // Those first: what programs know of is never less.
        let lost = self.lost.count();
        self.counters.snapshot().with_lost(lost)
    }

    /// What carries records.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether reading counters takes capabilities.
    #[must_use]
    pub fn needs_capabilities(&self) -> bool {
        self.counters.are_looked_up()
    }

    /// Listeners that were seen so far, in no order.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerSlot> {
        self.listeners.used()
    }

    /// Each hook, in the order in which they were attached; those that are not there come last.
    #[must_use]
    pub fn status(&self) -> Vec<ProbeStatus> {
        let counters = self.counters();
        let measured = program::are_measured();
        let carried = self.hooks.iter().chain(&self.synproxy).chain(&self.window);
        let carried = carried.map(|hook| {
            let way = hook.way;
            ProbeStatus {
                probe: hook.hook.probe,
                mechanism: Some(way.mechanism),
                symbol: way.symbol,
                attached: hook.is_attached(),
                reason: Some(one_line(&hook.failures)).filter(|reason| !reason.is_empty()),
                runs: counters.runs(hook.hook.probe),
                missed: hook
                    .missed(&self.ebpf, self.kprobe_misses_are_counted)
                    .into_iter()
                    .sum(),
                run_time_ns: measured.then(|| hook.run_time_ns(&self.ebpf)).flatten(),
                unseen: (hook.hook.probe == Probe::SetState)
                    .then(|| self.unseen.count(|| self.state_changes()))
                    .flatten(),
            }
        });
        let absent = self.absent.iter().map(|absent| ProbeStatus {
            probe: absent.probe,
            mechanism: None,
            symbol: "",
            attached: false,
            reason: Some(absent.reason.clone()),
            runs: 0,
            missed: None,
            run_time_ns: None,
            unseen: None,
        });
        carried.chain(absent).collect()
    }

    /// What the kernel and the programs say of changes of state now.
    fn state_changes(&self) -> Option<Reading> {
        let mut hooks = self.hooks.iter();
        let hook = hooks.find(|hook| hook.hook.probe == Probe::SetState)?;
        let missed = hook.missed(&self.ebpf, self.kprobe_misses_are_counted);
        Some(Reading {
            missed: (*missed.first()?)?,
            stood_in: self.counters().get(Counter::StoodIn),
        })
    }

    /// What this kernel does not have and can be done without, one line each.
    #[must_use]
    pub fn degradations(&self) -> &[Degradation] {
        &self.degradations
    }

    /// When the last hook was attached, nanoseconds of CLOCK_MONOTONIC: connections that were
    /// under way then were not seen from their beginning.
    #[must_use]
    pub fn watching_since_ktime_ns(&self) -> u64 {
        self.watching_since_ktime_ns
    }

    /// Whether setting SO_RCVBUF sets the window clamp too in this kernel.
    #[must_use]
    pub fn rcvbuf_sets_clamp(&self) -> bool {
        self.rcvbuf_sets_clamp
    }

    /// Whether SYN+ACKs of netfilter's SYN proxy are seen, of either family.
    #[must_use]
    pub fn sees_synproxy(&self) -> bool {
        self.synproxy.len() == SYNPROXY.len()
    }

    /// Attaches the window probe or takes it off again; does nothing when it is as asked for, or
    /// when it was not loaded (`Config::confirm` 0, or the status says why).
    ///
    /// # Errors
    ///
    /// When the kernel refuses, for instance because capabilities were given up.
    pub fn watch_window(&mut self, on: bool) -> Result<(), AttachError> {
        let Some(window) = &mut self.window else {
            return Ok(());
        };
        match (on, window.is_attached()) {
            (true, false) => window.attach_alone(&mut self.ebpf, &self.host),
            (false, true) => {
                window.detach();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether the window probe is attached.
    pub fn is_watching_windows(&self) -> bool {
        self.window.as_ref().is_some_and(Carried::is_attached)
    }

    /// Takes every hook off, the change of state first. The records, the counters and the status can
    /// still be read and change no more: drain the records after this and the books balance.
    pub fn detach(&mut self) {
        let mut unseen = std::mem::take(&mut self.unseen);
        unseen.end(|| self.state_changes());
        self.unseen = unseen;
        self.window = None;
        for hook in self.hooks.iter_mut().rev() {
            hook.detach();
        }
        for hook in &mut self.synproxy {
            hook.detach();
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.detach();
    }
}

/// What fentry programs are bound with, or why there are none: the running kernel's own numbers of
/// its types, whatever --btf says.
pub fn fentry_btf(choice: MechanismChoice) -> Result<Btf, String> {
    if choice == MechanismChoice::Kprobe {
        return Err("it was not asked for".to_owned());
    }
    if !Path::new(btf::VMLINUX).exists() {
        return Err(format!(
            "{} is missing, and --btf is no substitute for it here (use --mechanism kprobe)",
            btf::VMLINUX
        ));
    }
    Btf::from_sys_fs().map_err(|error| error.to_string())
}

fn absent(hook: &Hook, reason: &str) -> Absent {
    Absent {
        probe: hook.probe,
        reason: reason.to_owned(),
    }
}

/// Where fentry could be loaded and not attached, it would fail the window probe too, but later.
fn window_choice(hooks: &[Carried], asked: MechanismChoice) -> MechanismChoice {
    match hooks.first().map(|hook| hook.way.mechanism) {
        Some(Mechanism::Kprobe) => MechanismChoice::Kprobe,
        _ => asked,
    }
}

/// CLOCK_MONOTONIC, as bpf_ktime_get_ns reads it.
fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the struct it is given; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
