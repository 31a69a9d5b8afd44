//! What former agents knew and this one does not count: connections that it cannot look for, and
//! those that its options leave out.
//!
//! Constraint: nothing of it is forgotten before the kernel says that it has ended. It is handed on
//! from file to file, so that an agent which cannot look does not make the next one say that all is
//! known. Bounded by what one file lists.

use tcpwnd_core::{Engine, Flow, OpenFlow};

use super::document::Document;
use super::sockets::Sockets;

/// What is left of it.
#[derive(Debug, Default)]
pub struct Former {
    pending: Vec<Pending>,
    /// Connections that no file lists.
    pub left_out: u64,
    /// The word of one of the agents of this boot is missing.
    pub gap: bool,
}

/// A connection that a file lists, and of which it is not known that it has ended.
#[derive(Debug)]
struct Pending {
    flow: Flow,
    open: OpenFlow,
    /// This agent would count it.
    wanted: bool,
}

/// What became of some of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settled {
    /// The engine has them.
    pub open: u64,
    /// They are gone.
    pub ended: u64,
}

impl Former {
    /// Everything that a file says.
    pub fn of(document: &Document, wanted: impl Fn(&Flow, &OpenFlow) -> bool) -> Self {
        let pending = document.connections().map(|(flow, open)| Pending {
            wanted: wanted(&flow, &open),
            flow,
            open,
        });
        Self {
            pending: pending.collect(),
            left_out: document.left_out,
            gap: document.gap,
        }
    }

    /// Damaged connections that this agent would count, and that cannot be looked for.
    pub fn unchecked(&self) -> u64 {
        let pending = self.pending.iter().filter(|pending| pending.wanted);
        self.left_out.saturating_add(pending.count() as u64)
    }

    /// The connections that the next agent has to be told of.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = (Flow, &OpenFlow)> {
        let pending = self.pending.iter();
        pending.map(|pending| (pending.flow, &pending.open))
    }

    /// Looks for those that are due: the engine takes over what is open and wanted.
    pub fn look(
        &mut self,
        sockets: &mut Sockets,
        engine: &mut Engine,
        is_due: impl Fn(&OpenFlow) -> bool,
    ) -> Settled {
        let mut settled = Settled::default();
        self.pending.retain(|pending| {
            let Pending { flow, open, wanted } = pending;
            if !is_due(open) {
                return true;
            }
            match sockets.is_open(*flow, open) {
                Some(false) => {
                    settled.ended += 1;
                    false
                }
                Some(true) if *wanted && engine.carry_over(*flow, *open) => {
                    settled.open += 1;
                    false
                }
                Some(true) | None => true,
            }
        });
        settled
    }
}
