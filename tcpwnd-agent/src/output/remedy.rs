//! What to do about damaged connections, most useful first.
//!
//! Constraint: a step is given only where something that was seen calls for it.

use tcpwnd_core::books::Totals;
use tcpwnd_core::detect::window_scale::{LostCause, MismatchCause, Path, Verdict};
use tcpwnd_core::findings::Finding;

/// What findings have in common, gathered as they come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// Damaged connections that were put under watch.
    pub watched: u64,
    /// Those of which a window was seen.
    pub confirmed: u64,
    /// A mismatch whose listener had SO_RCVBUF set.
    pub rcvbuf_locked: bool,
    /// A mismatch by cookie although nothing that the scale is computed from had changed.
    pub nothing_changed: bool,
    /// Timestamps were missing somewhere.
    pub timestamps: bool,
    /// The peer did not offer window scaling.
    pub peer_did_not_offer: bool,
    /// Window scaling is switched off here.
    pub disabled_here: bool,
}

impl Hints {
    /// Takes in a handshake.
    pub fn add(&mut self, finding: &Finding) {
        self.watched += u64::from(finding.watched && finding.verdict.is_damaged());
        match finding.verdict {
            Verdict::Mismatch(cause) => {
                let (then, now) = (finding.evidence.inputs, finding.evidence.cookie_inputs);
                let locked = now.or(then).is_some_and(|inputs| inputs.rcvbuf_locked);
                self.rcvbuf_locked |= locked;
                self.nothing_changed |= cause == MismatchCause::CookieIgnoredRcvbuf;
                self.timestamps |= cause == MismatchCause::CookieTimestampsMissing;
            }
            Verdict::ScaleLost(LostCause::CookieWithoutTimestamps) => self.timestamps = true,
            Verdict::ScaleLost(LostCause::PeerDidNotOffer) => self.peer_did_not_offer = true,
            Verdict::ScaleLost(LostCause::DisabledHere) => self.disabled_here = true,
            _ => {}
        }
    }
}

/// The steps; none where nothing is damaged.
#[must_use]
pub fn steps(totals: &Totals, hints: &Hints) -> Vec<&'static str> {
    if totals.mismatch + totals.scale_lost == 0 {
        return Vec::new();
    }
    let cookies = totals
        .paths
        .get(Path::Cookie.name())
        .is_some_and(|count| *count > 0);
    let steps = [
        (
            true,
            "reconnect the damaged clients: closing the connection heals it (restarting the \
             server can bring on the same flood again)",
        ),
        (
            cookies,
            "make the listen queue longer, so that no cookies are needed: \
             socket.listen.backlog.size in Kafka from 3.2 on, together with net.core.somaxconn \
             and net.ipv4.tcp_max_syn_backlog",
        ),
        (
            cookies,
            "or net.ipv4.tcp_syncookies=0 where no hostile flood can reach the server; a SYN that \
             finds the queue full is then dropped and sent again after 1 s",
        ),
        (
            hints.rcvbuf_locked,
            "socket.receive.buffer.bytes=-1 in Kafka: without SO_RCVBUF there is nothing for the \
             cookie path to forget; autotuning then decides on memory",
        ),
        (
            hints.timestamps,
            "keep TCP timestamps on the whole path: net.ipv4.tcp_timestamps=1 on both ends, and \
             nothing in between that strips them",
        ),
        (
            hints.nothing_changed,
            "a kernel whose cookie path respects SO_RCVBUF: this one computed another scale from \
             unchanged settings (Linux commit 909172a14974, in 5.10 and 5.4.78)",
        ),
        (
            hints.peer_did_not_offer,
            "some clients offer no window scaling: look at their settings, and for a middlebox \
             that strips the option",
        ),
        (
            hints.disabled_here,
            "net.ipv4.tcp_window_scaling=1 in the server's namespace",
        ),
    ];
    steps
        .into_iter()
        .filter_map(|(needed, text)| needed.then_some(text))
        .collect()
}
