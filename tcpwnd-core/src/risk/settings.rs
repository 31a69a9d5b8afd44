//! What the settings of a namespace say, whoever listens in it.

use super::{Finding, Level, QUEUE, Settings};
use crate::detect::window_scale::{Listening, Share};

impl Settings {
    /// Whether all were read but those that kernels hide or lack.
    pub(super) fn are_seen(&self) -> bool {
        let all = [
            self.tcp_syncookies,
            self.tcp_timestamps,
            self.tcp_window_scaling,
            self.somaxconn,
            self.tcp_max_syn_backlog,
            self.tcp_rmem_default,
            self.tcp_rmem_max,
        ];
        all.iter().all(Option::is_some)
    }

    /// Whether SYN cookies are sent at all; where that is not known they are.
    pub(super) fn cookies(&self) -> bool {
        self.tcp_syncookies != Some(0)
    }

    /// Whether every SYN gets one, whatever the queues are (`tcp_conn_request`,
    /// net/ipv4/tcp_input.c, 6.12).
    pub(super) fn cookies_always(&self) -> bool {
        self.tcp_syncookies == Some(2)
    }

    /// A listener with this receive buffer; `None` where what counts could not be read.
    pub(crate) fn listening(&self, rcvbuf: u32, rcvbuf_set: bool) -> Option<Listening> {
        Some(Listening {
            rcvbuf,
            rcvbuf_set,
            tcp_rmem_max: self.tcp_rmem_max?,
            // Hidden in some namespaces, which is said where it was read. It is smaller than
            // tcp_rmem[2] by default.
            rmem_max: self.rmem_max.unwrap_or(0),
            share: self
                .tcp_adv_win_scale
                .map_or(Share::Half, Share::AdvWinScale),
        })
    }
}

pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    [
        settings.tcp_syncookies.map(syncookies),
        settings
            .tcp_timestamps
            .map(|set| timestamps(set, settings.cookies())),
        settings.tcp_window_scaling.map(window_scaling),
        settings.somaxconn.map(somaxconn),
        settings
            .tcp_max_syn_backlog
            .map(|limit| max_syn_backlog(limit, settings.cookies())),
        default_scale(settings),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn syncookies(set: u32) -> Finding {
    const NAME: &str = "net.ipv4.tcp_syncookies";
    match set {
        0 => Finding::new(
            Level::Ok,
            NAME,
            set,
            "no SYN cookies: a SYN that finds a queue full is dropped, and sent again after 1 s",
        ),
        1 => Finding::new(
            Level::Ok,
            NAME,
            set,
            "a listener whose queue is full answers with SYN cookies, and a cookie does not keep \
             the scale that was announced",
        ),
        _ => Finding::new(
            Level::Risk,
            NAME,
            set,
            "every SYN is answered with a SYN cookie, and a cookie does not keep the scale that \
             was announced",
        )
        .set(NAME, set, 1),
    }
}

fn timestamps(set: u32, cookies: bool) -> Finding {
    const NAME: &str = "net.ipv4.tcp_timestamps";
    if set != 0 {
        return Finding::new(
            Level::Ok,
            NAME,
            set,
            "a SYN cookie keeps the client's scale in the timestamps",
        );
    }
    if cookies {
        Finding::new(
            Level::Risk,
            NAME,
            set,
            "a SYN cookie without timestamps has no room for a scale: each of its connections has \
             windows of at most 64 KB for life",
        )
    } else {
        Finding::new(
            Level::Notice,
            NAME,
            set,
            "harmless to the scale while there are no SYN cookies; round-trip times are measured \
             less well",
        )
    }
    .set(NAME, set, 1)
}

fn window_scaling(set: u32) -> Finding {
    const NAME: &str = "net.ipv4.tcp_window_scaling";
    if set != 0 {
        return Finding::new(Level::Ok, NAME, set, "windows can be larger than 64 KB");
    }
    Finding::new(
        Level::Risk,
        NAME,
        set,
        "every connection has windows of at most 64 KB: 655 kB/s at 100 ms round-trip time",
    )
    .set(NAME, set, 1)
}

fn somaxconn(limit: u32) -> Finding {
    const NAME: &str = "net.core.somaxconn";
    if limit >= QUEUE {
        return Finding::new(
            Level::Ok,
            NAME,
            limit,
            "limits the queue of every listener that begins to listen from now on",
        );
    }
    Finding::new(
        Level::Notice,
        NAME,
        limit,
        "no listener's queue can be longer, whatever backlog the application asks for",
    )
    .set(NAME, limit, QUEUE)
}

/// It has one reader, `tcp_conn_request` (net/ipv4/tcp_input.c, 6.6): without SYN cookies the last
/// quarter is for clients that are known already.
fn max_syn_backlog(limit: u32, cookies: bool) -> Finding {
    const NAME: &str = "net.ipv4.tcp_max_syn_backlog";
    if cookies {
        return Finding::new(
            Level::Ok,
            NAME,
            limit,
            "counts only while tcp_syncookies is 0",
        );
    }
    let unknown = limit - limit / 4;
    let why = format!(
        "without SYN cookies a listener takes SYNs of unknown clients only while at most {unknown} \
         handshakes are under way"
    );
    if unknown >= QUEUE {
        return Finding::new(Level::Ok, NAME, limit, why);
    }
    Finding::new(Level::Notice, NAME, limit, why).set(NAME, limit, 2 * QUEUE)
}

fn default_scale(settings: &Settings) -> Option<Finding> {
    let rcvbuf = settings.tcp_rmem_default?;
    let listening = settings.listening(rcvbuf, false)?;
    let mut read = format!("tcp_rmem[2] {}", listening.tcp_rmem_max);
    if let Some(rmem_max) = settings.rmem_max {
        read += &format!(", rmem_max {rmem_max}");
    }
    Some(Finding::new(
        Level::Ok,
        "default window scale",
        read,
        format!(
            "a listener without SO_RCVBUF announces scale {}; changing either of them while clients \
             connect by SYN cookie damages those connections",
            listening.announced()
        ),
    ))
}
