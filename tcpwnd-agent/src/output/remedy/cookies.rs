//! What to do so that no SYN cookies are needed, or so that they have nothing to forget.
//!
//! Constraint: a setting is proposed only where it counts. At 2 `tcp_syncookies` makes a cookie of
//! every SYN, and `tcp_max_syn_backlog` has a say only while it is 0 (`tcp_conn_request`,
//! net/ipv4/tcp_input.c, 6.12).

use tcpwnd_core::detect::window_scale::MismatchCause;
use tcpwnd_core::risk;

use super::listens::Listens;
use super::{Hints, Queue, set};
use crate::host::settings::Settings;

/// Shortest and longest listen queue that is proposed, connections; the kernel keeps its limit in
/// 16 bits up to 5.3 (`somaxconn`, net/core/sysctl_net_core.c).
const SHORTEST: u64 = risk::QUEUE as u64;
const LONGEST: u64 = 65_535;

/// So that no cookies are sent. `queue` is of the listener that sent most of them.
pub fn steps(listens: &Listens, settings: &Settings, queue: Option<Queue>) -> Vec<String> {
    let wanted = queue.map_or(SHORTEST, |queue| {
        let wanted = queue.cookies.checked_next_power_of_two().unwrap_or(LONGEST);
        wanted.clamp(SHORTEST, LONGEST)
    });
    let limit = queue.map(|queue| queue.limit);
    let backlog = listens.backlog(limit, wanted);
    let somaxconn = set("net.core.somaxconn", settings.somaxconn, wanted);
    let syn_backlog = syn_backlog(settings.max_syn_backlog, wanted);
    let longer = "make the listen queue longer, so that";
    match settings.syncookies {
        Some(2) => vec![
            "net.ipv4.tcp_syncookies=1 (now 2), or 0 where no hostile flood can reach the server: at \
             2 every SYN gets a cookie, however long the listen queue is"
                .to_owned(),
        ],
        Some(0) => {
            let more = syn_backlog.map_or_else(String::new, |set| format!(", {set}"));
            vec![format!(
                "{longer} SYNs are not dropped while net.ipv4.tcp_syncookies is 0: {backlog}, \
                 {somaxconn}{more}"
            )]
        }
        now => {
            let now = now.map_or_else(String::new, |now| format!(" (now {now})"));
            let more = syn_backlog
                .map_or_else(String::new, |set| format!(", and {set} counts only then"));
            vec![
                format!("{longer} no cookies are needed: {backlog}, {somaxconn}"),
                format!(
                    "or net.ipv4.tcp_syncookies=0{now}, where no hostile flood can reach the server; \
                     a SYN that finds the queue full is then dropped and sent again after 1 s{more}"
                ),
            ]
        }
    }
}

/// The last quarter of it is for clients that are known already; `None` where it suffices.
fn syn_backlog(now: Option<u32>, wanted: u64) -> Option<String> {
    let enough = now.is_some_and(|now| u64::from(now - now / 4) >= wanted);
    (!enough).then(|| set("net.ipv4.tcp_max_syn_backlog", now, 2 * wanted))
}

/// So that they have nothing to forget.
pub fn of_buffer(hints: &Hints) -> Option<String> {
    use MismatchCause::{AdvWinScaleChanged, CookieIgnoredRcvbuf, ListenerChanged, RcvbufChanged};
    let matters = [
        AdvWinScaleChanged,
        CookieIgnoredRcvbuf,
        ListenerChanged,
        RcvbufChanged,
        MismatchCause::Unknown,
    ];
    let now = hints
        .rcvbuf
        .filter(|_| hints.by_cookie && hints.any(&matters))?;
    Some(format!(
        "{}: without SO_RCVBUF there is nothing for the cookie path to forget; autotuning then \
         decides on memory",
        hints.listens.no_rcvbuf(now)
    ))
}
