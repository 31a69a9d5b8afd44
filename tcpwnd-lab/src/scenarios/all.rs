//! The list of scenarios.

use super::scenario::{Scenario, scenario};
use super::{
    after_sigkill, at_risk, bad_input, bpf_cookie, cause_listener, cause_settings, cause_tcp_ao,
    check_goldens, client_role, client_role_odd, confined, cookies, defer_accept, evicted,
    exit_codes, fast_open_closed, flood, forged, half_closed, hostile_http, jvm, laboratory,
    lockdown, many, map_lookups, mptcp, nowhere, odd, older_cookie, open_now, ordinary, own_btf,
    rcvbuf_raised, reconnect, restart_gate, restarted_agent, ring_too_small, rmem_lowered,
    same_tuple, same_tuple_device, scale_lost, scan, segments, service_manager, signed_md5, smoke,
    started_late, steady_state, synproxy, timestamps_stripped, transmit_path, two_agents,
    two_synacks, who, without_cookies, xdp_cookie,
};

/// Every scenario, in the order in which they run.
pub const ALL: &[Scenario] = &[
    scenario(
        "laboratory",
        "the witnesses agree with each other (no agent)",
        laboratory::play,
    ),
    scenario(
        "check_goldens",
        "check on seven hosts, good, at risk and with little to see: its words, none other",
        check_goldens::play,
    ),
    scenario(
        "smoke",
        "sound handshakes are ok, an induced mismatch is found",
        smoke::play,
    ),
    scenario(
        "ordinary",
        "300 handshakes over v4, v6, v4 on dual stack: ok",
        ordinary::play,
    ),
    scenario(
        "cookies",
        "the same by cookie: ok; 1 to 7 on the affected kernel",
        cookies::play,
    )
    .of_causes(),
    scenario(
        "rcvbuf_raised",
        "SO_RCVBUF raised before the cookie's ACK: mismatch",
        rcvbuf_raised::play,
    )
    .of_causes(),
    scenario(
        "rmem_lowered",
        "tcp_rmem lowered before the cookie's ACK: overrun",
        rmem_lowered::play,
    )
    .of_causes(),
    scenario(
        "cause_settings",
        "a setting or route changed before the cookie's ACK: each is named, two at once are not",
        cause_settings::play,
    )
    .of_causes(),
    scenario(
        "cause_listener",
        "a listener's options changed, or another took over: each is named, and nothing else",
        cause_listener::play,
    )
    .of_causes(),
    scenario(
        "cause_tcp_ao",
        "TCP-AO with cookies: named, and not taken for stripped timestamps",
        cause_tcp_ao::play,
    )
    .of_causes(),
    scenario(
        "segments",
        "a cookie on a path of 9,000 bytes: segments of 1,460 for life",
        segments::play,
    ),
    scenario(
        "without_cookies",
        "the same two changes without cookies: ok",
        without_cookies::play,
    )
    .of_causes(),
    scenario(
        "cookie_without_timestamps",
        "a cookie for a client without timestamps: scale lost",
        scale_lost::cookie_without_timestamps,
    )
    .of_causes(),
    scenario(
        "peer_without_scale",
        "the client offers no window scale: scale lost, or ignored",
        scale_lost::peer_without_scale,
    )
    .of_causes(),
    scenario(
        "scaling_disabled",
        "window scaling is off on this host: scale lost",
        scale_lost::scaling_disabled,
    )
    .of_causes(),
    scenario(
        "client_role",
        "connections opened here: ok, not granted, or disabled here; each end by itself",
        client_role::play,
    )
    .of_causes(),
    scenario(
        "client_role_odd",
        "connects that go another way: no finding but the true ones, none twice",
        client_role_odd::play,
    )
    .of_causes(),
    scenario(
        "timestamps_stripped",
        "the ACK of a cookie lost its timestamps: mismatch in both directions",
        timestamps_stripped::play,
    )
    .of_causes(),
    scenario(
        "two_synacks",
        "two SYN+ACKs that differ: the ACK's timestamp decides, else unverified",
        two_synacks::play,
    )
    .of_causes(),
    scenario(
        "older_cookie",
        "the ACK answers a SYN+ACK before the last one",
        older_cookie::play,
    )
    .of_causes(),
    scenario(
        "started_late",
        "tracing begins between SYN+ACK and ACK: unverified",
        started_late::play,
    )
    .of_causes(),
    scenario(
        "synproxy",
        "netfilter's SYN proxy: judged on what it announced, else unverified",
        synproxy::play,
    )
    .of_causes(),
    scenario(
        "bpf_cookie",
        "a BPF program answers and makes the request: unverified, and said why",
        bpf_cookie::play,
    )
    .of_causes(),
    scenario(
        "xdp_cookie",
        "an XDP program answers with the stack's cookies: unverified, and said why",
        xdp_cookie::play,
    )
    .of_causes(),
    scenario(
        "map_lookups_20000",
        "others' map lookups and scrapes during 20,000 handshakes: nothing is lost uncounted",
        map_lookups::play,
    ),
    scenario(
        "steady_state",
        "no map system call while handshakes come and metrics are scraped",
        steady_state::play,
    ),
    scenario(
        "same_tuple",
        "one tuple in two namespaces, one damaged: exactly that one",
        same_tuple::play,
    ),
    scenario(
        "same_tuple_vrf",
        "one tuple in two VRFs of a namespace, one damaged: exactly that one",
        same_tuple_device::vrfs,
    ),
    scenario(
        "same_tuple_link_local",
        "one link-local tuple on two devices, one damaged: exactly that one",
        same_tuple_device::link_local,
    ),
    scenario(
        "flood",
        "2,000 clients against a backlog of 50: everything adds up",
        flood::play,
    ),
    scenario(
        "odd",
        "handshakes that go another way: no finding, none twice",
        odd::play,
    )
    .of_causes(),
    scenario(
        "forged",
        "a forged cookie is rejected and counted, a stray ACK is nothing",
        forged::play,
    ),
    scenario(
        "half_closed",
        "segments of half-closed connections: no handshakes, no runs",
        half_closed::play,
    ),
    scenario(
        "defer_accept",
        "a listener that waits for data: judged once, when the handshake ends",
        defer_accept::play,
    ),
    scenario(
        "signed_md5",
        "signed by MD5: ok; by cookie the scale is lost, and it is said why",
        signed_md5::play,
    ),
    scenario(
        "mptcp",
        "multipath TCP, and TCP with the same server: ok, by cookie too",
        mptcp::play,
    ),
    scenario(
        "evicted",
        "more handshakes under way than records: ok, or unverified for want of one",
        evicted::play,
    ),
    scenario(
        "fast_open_closed",
        "2,000 Fast Open connections closed before the ACK: none twice",
        fast_open_closed::play,
    ),
    scenario(
        "ring_too_small",
        "what does not fit is counted, exit code 3",
        ring_too_small::play,
    ),
    scenario(
        "exit_codes",
        "0, 1 and 3 as the options ask for; what a filter leaves out is not lost",
        exit_codes::play,
    ),
    scenario(
        "open_now",
        "the gauges rise to 20 and return to 0",
        open_now::play,
    ),
    scenario(
        "reconnect",
        "the summary's commands close the damaged connections and no other",
        reconnect::play,
    ),
    scenario(
        "restart_gate",
        "a rolling restart is held back while a restarted server has damaged connections",
        restart_gate::play,
    ),
    scenario(
        "restarted_agent",
        "an agent after another counts the damaged connections that are open still, and no other",
        restarted_agent::play,
    ),
    scenario(
        "hostile_http",
        "1,000 hostile HTTP clients: scrapes in time, memory and descriptors within bounds",
        hostile_http::play,
    ),
    scenario(
        "service_manager",
        "ready when attached, pings from the event loop, none while that is stuck",
        service_manager::play,
    ),
    scenario(
        "confined",
        "run confines itself, does its work like that, and no system call of it is refused",
        confined::play,
    ),
    scenario("jvm", "a JVM's ServerSocketChannel as listener", jvm::play),
    scenario(
        "two_agents",
        "two agents at once see the same",
        two_agents::play,
    ),
    scenario(
        "transmit_path",
        "it is probed while a connection is suspect only",
        transmit_path::play,
    ),
    scenario(
        "after_sigkill",
        "SIGKILL under load leaves nothing in the kernel",
        after_sigkill::play,
    ),
    scenario(
        "bad_input",
        "one clear line, exit code 2, nothing attached",
        bad_input::play,
    ),
    scenario(
        "own_btf",
        "a kernel that does not show its BTF: the same verdicts with the part that is needed",
        own_btf::play,
    ),
    scenario(
        "who",
        "who listens is named by cgroup and process, and nobody else is",
        who::play,
    ),
    scenario(
        "scan",
        "2,000 sound and 40 damaged connections that nobody saw begin: suspects, and verdicts",
        scan::play,
    ),
    scenario(
        "scan_18000",
        "18,000 sockets: a scan costs about what ss takes to list them",
        scan::cost,
    ),
    scenario(
        "at_risk",
        "check calls a broker with Kafka's defaults at risk, and a sound one not",
        at_risk::play,
    ),
    scenario(
        "thousand_mismatches",
        "1,000 mismatches, 1,000 findings",
        many::thousand_mismatches,
    ),
    scenario(
        "ten_thousand_clean",
        "10,000 sound handshakes, no finding",
        many::ten_thousand_clean,
    ),
    scenario(
        "without_bpf",
        "a kernel without bpf(2): that is said, not forbidden nor broken; exit code 2",
        nowhere::without_bpf,
    )
    .elsewhere(),
    scenario(
        "without_tracing",
        "a kernel with bpf(2) and nothing that traces: likewise",
        nowhere::without_tracing,
    )
    .elsewhere(),
    // The last one: the machine stays locked down.
    scenario(
        "lockdown",
        "a kernel in lockdown: forbidden, not absent nor broken; one line, exit code 2",
        lockdown::play,
    ),
];
