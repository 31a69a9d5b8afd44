//! One hook from the choice of mechanism to being attached, with its fallbacks.
//!
//! Constraint: a hook is attached whole or not at all. Every failure on the way is kept: it
//! becomes the reason in the status, or the error.

use std::collections::VecDeque;

use aya::programs::ProgramError;
use aya::{Btf, Ebpf};

use super::failure::{Failure, Step, one_line};
use super::program::{self, Link};
use super::table::Hook;
use super::{AttachError, Mechanism, MechanismChoice};
use crate::kernel::features::errno;
use crate::kernel::host::Host;
use crate::kernel::symbols::Presence;

/// One way to carry a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// By what.
    pub mechanism: Mechanism,
    /// To which function or tracepoint.
    pub symbol: &'static str,
    /// With which programs, in the order of attaching.
    pub programs: &'static [&'static str],
}

/// The ways to carry `hook`, most wanted first.
pub fn candidates(
    hook: &'static Hook,
    choice: MechanismChoice,
    presence: impl Fn(&str) -> Presence,
) -> VecDeque<Candidate> {
    let mut ways = VecDeque::new();
    if let Some((symbol, programs)) = hook.raw_tracepoint
        && !without_tracepoints()
    {
        ways.push_back(Candidate {
            mechanism: Mechanism::RawTracepoint,
            symbol,
            programs,
        });
    }
    for (mechanism, programs, wanted) in [
        (Mechanism::Fentry, hook.fentry, MechanismChoice::Fentry),
        (Mechanism::Kprobe, hook.kprobe, MechanismChoice::Kprobe),
    ] {
        if programs.is_empty() || (choice != MechanismChoice::Auto && choice != wanted) {
            continue;
        }
        for &symbol in hook.functions {
            match presence(symbol) {
                Presence::Missing => continue,
                Presence::Present | Presence::Unknown => ways.push_back(Candidate {
                    mechanism,
                    symbol,
                    programs,
                }),
            }
            if presence(symbol) == Presence::Present {
                break;
            }
        }
    }
    ways
}

#[cfg(test)]
thread_local! {
    /// To a test on this thread the kernel is one without tracepoints.
    pub static WITHOUT_TRACEPOINTS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[cfg(test)]
fn without_tracepoints() -> bool {
    WITHOUT_TRACEPOINTS.get()
}

/// Where a tracepoint is missing, the kernel says so when it is attached.
#[cfg(not(test))]
const fn without_tracepoints() -> bool {
    false
}

/// What hooks need while they are being attached.
pub struct Workshop<'a> {
    /// The object.
    pub ebpf: &'a mut Ebpf,
    /// The kernel's BTF for fentry, or why it cannot be had.
    pub btf: Result<&'a Btf, &'a str>,
    /// For the reasons.
    pub host: &'a Host,
}

/// A hook whose programs are loaded, by the first candidate with which that worked.
pub struct Carried {
    /// Which hook.
    pub hook: &'static Hook,
    /// How it is carried.
    pub way: Candidate,
    /// What was tried before, and why it failed.
    pub failures: Vec<Failure>,
    links: Vec<Link>,
    rest: VecDeque<Candidate>,
}

impl Carried {
    /// Loads the programs of the first of `ways` with which that works.
    ///
    /// # Errors
    ///
    /// When none of them does.
    pub fn load(
        hook: &'static Hook,
        mut ways: VecDeque<Candidate>,
        shop: &mut Workshop<'_>,
    ) -> Result<Self, AttachError> {
        let mut failures = Vec::new();
        let way = shop.load_first(hook, &mut ways, &mut failures, None)?;
        Ok(Self {
            hook,
            way,
            failures,
            links: Vec::new(),
            rest: ways,
        })
    }

    /// Attaches, or falls back to what is left of the candidates.
    ///
    /// # Errors
    ///
    /// When nothing is left; nothing of the hook is attached then.
    pub fn attach(&mut self, shop: &mut Workshop<'_>) -> Result<(), AttachError> {
        loop {
            let Err(error) = self.attach_programs(shop.ebpf) else {
                return Ok(());
            };
            self.failures
                .push(shop.failure(Step::Attach, self.way, &error));
            shop.unload(self.way);
            self.way =
                shop.load_first(self.hook, &mut self.rest, &mut self.failures, Some(error))?;
        }
    }

    /// The links made so far are dropped, and with them detached, when one cannot be made.
    fn attach_programs(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramError> {
        let mut links = Vec::new();
        for name in self.way.programs {
            let program = ebpf
                .program_mut(name)
                .ok_or(ProgramError::UnexpectedProgramType)?;
            links.push(program::attach(program, self.way.symbol)?);
        }
        self.links = links;
        Ok(())
    }

    /// Attaches later on, without fallback.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`].
    pub fn attach_alone(&mut self, ebpf: &mut Ebpf, host: &Host) -> Result<(), AttachError> {
        let attached = match self.attach_programs(ebpf) {
            Err(error) if self.cannot_be_attached_twice(&error) => {
                self.reload(ebpf).and_then(|()| self.attach_programs(ebpf))
            }
            outcome => outcome,
        };
        attached.map_err(|source| {
            let failure = Failure::new(Step::Attach, self.way, &source, host);
            AttachError::refused(one_line(&[failure]), source)
        })
    }

    /// Until "bpf: Allow trampoline re-attach for tracing and lsm programs" (5.13) a program
    /// forgot its function when it was detached (bpf_tracing_prog_attach, kernel/bpf/syscall.c).
    fn cannot_be_attached_twice(&self, error: &ProgramError) -> bool {
        self.way.mechanism == Mechanism::Fentry && errno(error) == Some(libc::ENOENT)
    }

    fn reload(&self, ebpf: &mut Ebpf) -> Result<(), ProgramError> {
        let btf = Btf::from_sys_fs()?;
        for name in self.way.programs {
            let program = ebpf
                .program_mut(name)
                .ok_or(ProgramError::UnexpectedProgramType)?;
            program::unload(program);
            program::load(program, self.way.symbol, Some(&btf))?;
        }
        Ok(())
    }

    /// Detaches; the programs stay loaded.
    pub fn detach(&mut self) {
        // Last attached, first detached: no return without its entry.
        while self.links.pop().is_some() {}
    }

    /// Whether it is attached.
    pub fn is_attached(&self) -> bool {
        !self.links.is_empty()
    }

    /// Runs that the kernel skipped, program by program; `None` where it cannot tell.
    pub fn missed(&self, ebpf: &Ebpf, kprobes_counted: bool) -> Vec<Option<u64>> {
        self.way
            .programs
            .iter()
            .map(|name| program::missed(ebpf.program(name)?, kprobes_counted))
            .collect()
    }

    /// Time that the kernel measured, over its programs, nanoseconds.
    pub fn run_time_ns(&self, ebpf: &Ebpf) -> Option<u64> {
        self.way
            .programs
            .iter()
            .map(|name| program::run_time_ns(ebpf.program(name)?))
            .sum()
    }
}

impl Workshop<'_> {
    /// Loads the first of `ways` that the kernel takes, and removes it and those before it.
    fn load_first(
        &mut self,
        hook: &Hook,
        ways: &mut VecDeque<Candidate>,
        failures: &mut Vec<Failure>,
        mut last: Option<ProgramError>,
    ) -> Result<Candidate, AttachError> {
        while let Some(way) = ways.pop_front() {
            match self.load_programs(way) {
                Ok(()) => return Ok(way),
                Err(error) => {
                    self.unload(way);
                    failures.push(self.failure(Step::Load, way, &error));
                    last = Some(error);
                }
            }
        }
        match last {
            Some(source) => Err(AttachError::refused(one_line(failures), source)),
            None => Err(AttachError::NoSymbol {
                hook: hook.probe.name(),
                functions: hook.functions.join(" or "),
            }),
        }
    }

    fn load_programs(&mut self, way: Candidate) -> Result<(), ProgramError> {
        for name in way.programs {
            let program = self
                .ebpf
                .program_mut(name)
                .ok_or(ProgramError::UnexpectedProgramType)?;
            program::load(program, way.symbol, self.btf.ok())?;
        }
        Ok(())
    }

    fn unload(&mut self, way: Candidate) {
        for name in way.programs {
            if let Some(program) = self.ebpf.program_mut(name) {
                program::unload(program);
            }
        }
    }

    fn failure(&self, step: Step, way: Candidate, error: &ProgramError) -> Failure {
        match (way.mechanism, self.btf) {
            (Mechanism::Fentry, Err(reason)) => Failure::because(step, way, reason.to_owned()),
            _ => Failure::new(step, way, error, self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{HOOKS, WINDOW};
    use super::*;

    fn ways(
        hook: &'static Hook,
        choice: MechanismChoice,
        presence: impl Fn(&str) -> Presence,
    ) -> Vec<(Mechanism, &'static str)> {
        candidates(hook, choice, presence)
            .iter()
            .map(|way| (way.mechanism, way.symbol))
            .collect()
    }

    fn all(_: &str) -> Presence {
        Presence::Present
    }

    #[test]
    fn auto_wants_fentry_and_falls_back_to_kprobe() {
        assert_eq!(
            ways(&HOOKS[0], MechanismChoice::Auto, all),
            [
                (Mechanism::Fentry, "tcp_make_synack"),
                (Mechanism::Kprobe, "tcp_make_synack"),
            ]
        );
    }

    #[test]
    fn a_forced_mechanism_has_no_fallback() {
        for (choice, mechanism) in [
            (MechanismChoice::Fentry, Mechanism::Fentry),
            (MechanismChoice::Kprobe, Mechanism::Kprobe),
        ] {
            assert_eq!(
                ways(&HOOKS[0], choice, all),
                [(mechanism, "tcp_make_synack")]
            );
        }
    }

    #[test]
    fn changes_of_state_come_from_the_tracepoint_even_with_kprobes_forced() {
        let set_state = &HOOKS[HOOKS.len() - 1];
        assert_eq!(
            ways(set_state, MechanismChoice::Kprobe, all),
            [
                (Mechanism::RawTracepoint, "inet_sock_set_state"),
                (Mechanism::Kprobe, "tcp_set_state"),
            ]
        );
        assert_eq!(
            ways(set_state, MechanismChoice::Fentry, all),
            [(Mechanism::RawTracepoint, "inet_sock_set_state")]
        );
    }

    #[test]
    fn an_inlined_function_gives_way_to_the_next() {
        let inlined = |name: &str| match name {
            "tcp_select_window" => Presence::Missing,
            _ => Presence::Present,
        };
        assert_eq!(
            ways(&WINDOW, MechanismChoice::Kprobe, inlined),
            [(Mechanism::Kprobe, "__tcp_select_window")]
        );
        assert_eq!(
            ways(&WINDOW, MechanismChoice::Kprobe, all),
            [(Mechanism::Kprobe, "tcp_select_window")]
        );
    }

    #[test]
    fn without_kallsyms_every_name_is_tried() {
        assert_eq!(
            ways(&WINDOW, MechanismChoice::Fentry, |_| Presence::Unknown),
            [
                (Mechanism::Fentry, "tcp_select_window"),
                (Mechanism::Fentry, "__tcp_select_window"),
            ]
        );
    }
}
