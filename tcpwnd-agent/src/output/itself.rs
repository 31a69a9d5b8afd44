//! What `/metrics` says of the agent itself: its pages and its log, and its process.

use super::connections;
use super::exposition::Family;
use super::metrics::View;

pub fn http(view: &View<'_>) -> Vec<Family> {
    let View {
        recent,
        connections,
        ..
    } = view;
    vec![
        Family::gauge(
            "tcpwnd_recent_findings",
            "Findings that /api/v1/findings knows",
        )
        .value(recent.len() as f64),
        Family::gauge("tcpwnd_recent_findings_limit", "Most that it knows")
            .value(recent.limit() as f64),
        Family::counter(
            "tcpwnd_recent_findings_dropped",
            "Findings that it knows no more: the oldest go first",
        )
        .value(recent.dropped() as f64),
        Family::counter(
            "tcpwnd_log_lines_held_back",
            "Log lines beyond the limit for their listener and cause",
        )
        .value(view.log_lines_held_back as f64),
        Family::gauge("tcpwnd_http_connections", "Open HTTP connections")
            .value(connections.open() as f64),
        Family::gauge("tcpwnd_http_connections_limit", "Most that may be open")
            .value(connections::LIMIT as f64),
        Family::counter(
            "tcpwnd_http_connections_displaced",
            "HTTP connections that had to make room for new ones, for nothing had happened on \
             them for the longest time",
        )
        .value(connections.displaced() as f64),
    ]
}

pub fn about(view: &View<'_>) -> Vec<Family> {
    let process = view.process;
    let confined = Family::gauge(
        "tcpwnd_confined",
        "1 where this layer keeps the agent to what it needs once everything is attached",
    );
    let confined = view.layers.iter().fold(confined, |family, (name, holds)| {
        let labels = vec![("layer", (*name).into())];
        family.with(labels, f64::from(u8::from(*holds)))
    });
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    vec![
        Family::gauge(
            "tcpwnd_watching_since_timestamp_seconds",
            "When watching began: connections that are older were not seen",
        )
        .value(view.watching_since),
        confined,
        Family::gauge("tcpwnd_build_info", "What is running here; always 1").with(
            vec![
                ("version", env!("CARGO_PKG_VERSION").into()),
                (
                    "revision",
                    option_env!("TCPWND_REVISION").unwrap_or("unknown").into(),
                ),
                ("kernel", view.kernel.to_owned().into()),
                ("backend", view.backend.into()),
            ],
            1.0,
        ),
        Family::counter("process_cpu_seconds", "Time that the process spent on CPUs")
            .value(process.cpu_seconds),
        Family::gauge("process_resident_memory_bytes", "Resident memory")
            .value(whole(process.resident_bytes)),
        Family::gauge("process_virtual_memory_bytes", "Virtual memory")
            .value(whole(process.virtual_bytes)),
        Family::gauge("process_start_time_seconds", "When the process started")
            .value(process.start_time),
        Family::gauge("process_threads", "Threads").value(whole(process.threads)),
        Family::gauge("process_open_fds", "Open file descriptors").value(whole(process.open_fds)),
        Family::gauge("process_max_fds", "Most file descriptors that may be open")
            .value(whole(process.max_fds)),
    ]
}
