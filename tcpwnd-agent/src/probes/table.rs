//! Which programs make up a hook, by mechanism, and which symbols they go to.
//!
//! Constraint: data only. The order is the order of attaching: SYN+ACKs first, so that a
//! connection whose end is seen has its beginning seen too; the change of state last, since that
//! is the moment from which connections are counted.

use tcpwnd_common::{Probe, ROLE_SERVER};

/// One hook.
#[derive(Debug)]
pub struct Hook {
    /// Its number and name in counters and messages.
    pub probe: Probe,
    /// The kernel function; the first one that the kernel has.
    pub functions: &'static [&'static str],
    /// fentry and fexit programs, the entry first, so that no return is seen without it.
    pub fentry: &'static [&'static str],
    /// kprobe and kretprobe programs, likewise.
    pub kprobe: &'static [&'static str],
    /// A raw tracepoint that is better than either, and its programs, of which the others stand in
    /// where the kernel skips the first.
    pub raw_tracepoint: Option<(&'static str, &'static [&'static str])>,
    /// Why the hook can be done without when the kernel has none of the functions.
    pub dispensable: Option<&'static str>,
}

const COOKIES: &str = "built without IPv6 or SYN cookies";

/// Every hook but [`SYNPROXY`] and [`WINDOW`], in the order of attaching.
pub static HOOKS: [Hook; 10] = [
    Hook {
        probe: Probe::MakeSynack,
        functions: &["tcp_make_synack"],
        fentry: &["make_synack_fexit"],
        kprobe: &["make_synack_kprobe", "make_synack_kretprobe"],
        raw_tracepoint: None,
        dispensable: None,
    },
    Hook {
        probe: Probe::CookieV4Check,
        functions: &["cookie_v4_check"],
        fentry: &["cookie_v4_check_fentry", "cookie_v4_check_fexit"],
        kprobe: &["cookie_v4_check_kprobe", "cookie_v4_check_kretprobe"],
        raw_tracepoint: None,
        dispensable: Some(COOKIES),
    },
    Hook {
        probe: Probe::CookieV6Check,
        functions: &["cookie_v6_check"],
        fentry: &["cookie_v6_check_fentry", "cookie_v6_check_fexit"],
        kprobe: &["cookie_v6_check_kprobe", "cookie_v6_check_kretprobe"],
        raw_tracepoint: None,
        dispensable: Some(COOKIES),
    },
    Hook {
        probe: Probe::CookieV4Hash,
        functions: &["__cookie_v4_check"],
        fentry: &["cookie_v4_hash_fexit"],
        kprobe: &["cookie_v4_hash_kretprobe"],
        raw_tracepoint: None,
        dispensable: Some(COOKIES),
    },
    Hook {
        probe: Probe::CookieV6Hash,
        functions: &["__cookie_v6_check"],
        fentry: &["cookie_v6_hash_fexit"],
        kprobe: &["cookie_v6_hash_kretprobe"],
        raw_tracepoint: None,
        dispensable: Some(COOKIES),
    },
    Hook {
        probe: Probe::RcvStateProcess,
        functions: &["tcp_rcv_state_process"],
        fentry: &["rcv_state_process_fentry"],
        kprobe: &["rcv_state_process_kprobe"],
        raw_tracepoint: None,
        dispensable: None,
    },
    Hook {
        probe: Probe::ConnRequest,
        functions: &["tcp_conn_request"],
        fentry: &["conn_request_fentry"],
        kprobe: &["conn_request_kprobe"],
        raw_tracepoint: None,
        dispensable: None,
    },
    Hook {
        probe: Probe::GetCookieSock,
        functions: &["tcp_get_cookie_sock"],
        fentry: &["get_cookie_sock_fentry"],
        kprobe: &["get_cookie_sock_kprobe"],
        raw_tracepoint: None,
        dispensable: Some(COOKIES),
    },
    Hook {
        probe: Probe::CheckReq,
        functions: &["tcp_check_req"],
        fentry: &["check_req_fexit"],
        kprobe: &["check_req_kprobe", "check_req_kretprobe"],
        raw_tracepoint: None,
        dispensable: None,
    },
    Hook {
        probe: Probe::SetState,
        functions: &["tcp_set_state"],
        // None: where fentry can be had, the tracepoint can.
        fentry: &[],
        kprobe: &["set_state_kprobe"],
        raw_tracepoint: Some((
            "inet_sock_set_state",
            &[
                "set_state_raw_tracepoint",
                "set_state_second_raw_tracepoint",
                "set_state_third_raw_tracepoint",
                "set_state_last_raw_tracepoint",
            ],
        )),
        dispensable: None,
    },
];

/// The module function that says that netfilter's SYN proxy is there (nf_synproxy_core).
pub const SYNPROXY_MARK: &str = "synproxy_send_client_synack";

/// SYN+ACKs of netfilter's SYN proxy, seen where they leave it. Attached before all others, and
/// only where [`SYNPROXY_MARK`] is: other packets pass there too.
pub static SYNPROXY: [Hook; 2] = [
    Hook {
        probe: Probe::SynproxySynack,
        functions: &["ip_route_me_harder"],
        fentry: &["synproxy_synack_fentry"],
        kprobe: &["synproxy_synack_kprobe"],
        raw_tracepoint: None,
        dispensable: Some(NO_SYNPROXY),
    },
    Hook {
        probe: Probe::SynproxySynackV6,
        functions: &["ip6_local_out"],
        fentry: &["synproxy_synack_ipv6_fentry"],
        kprobe: &["synproxy_synack_ipv6_kprobe"],
        raw_tracepoint: None,
        dispensable: Some(NO_SYNPROXY),
    },
];

/// Why there is nothing to see.
pub const NO_SYNPROXY: &str = "netfilter's SYN proxy (nf_synproxy_core) is not loaded";

/// The window probe, attached only while something is being watched.
pub static WINDOW: Hook = Hook {
    probe: Probe::SelectWindow,
    // GCC inlines the first on every kernel that was looked at; the second is always there.
    functions: &["tcp_select_window", "__tcp_select_window"],
    fentry: &["select_window_fentry"],
    kprobe: &["select_window_kprobe"],
    raw_tracepoint: None,
    dispensable: Some("windows cannot be confirmed"),
};

/// Whether a hook has anything to do for these roles (`Config::roles`): what a host opens is seen in
/// two places, all others are about what it accepts.
pub fn is_needed(hook: &Hook, roles: u32) -> bool {
    roles & ROLE_SERVER != 0 || matches!(hook.probe, Probe::RcvStateProcess | Probe::SetState)
}

/// Every function that a hook may go to.
pub fn functions() -> Vec<&'static str> {
    all()
        .flat_map(|hook| hook.functions)
        .chain([&SYNPROXY_MARK])
        .copied()
        .collect()
}

fn all() -> impl Iterator<Item = &'static Hook> {
    HOOKS.iter().chain(&SYNPROXY).chain([&WINDOW])
}

#[cfg(test)]
mod tests {
    use tcpwnd_common::ROLE_CLIENT;

    use super::*;

    #[test]
    fn synacks_come_first_and_changes_of_state_last() {
        assert_eq!(HOOKS[0].probe, Probe::MakeSynack);
        assert_eq!(HOOKS[HOOKS.len() - 1].probe, Probe::SetState);
    }

    #[test]
    fn connecting_side_needs_two_hooks_and_the_other_needs_all() {
        let needed = |roles| HOOKS.iter().filter(move |hook| is_needed(hook, roles));
        let of_clients: Vec<_> = needed(ROLE_CLIENT).map(|hook| hook.probe).collect();
        assert_eq!(of_clients, [Probe::RcvStateProcess, Probe::SetState]);
        assert_eq!(needed(ROLE_SERVER).count(), HOOKS.len());
        assert_eq!(needed(ROLE_SERVER | ROLE_CLIENT).count(), HOOKS.len());
        // A SYN proxy on this host stands before its servers.
        assert!(!SYNPROXY.iter().any(|hook| is_needed(hook, ROLE_CLIENT)));
        assert!(SYNPROXY.iter().all(|hook| is_needed(hook, ROLE_SERVER)));
    }

    #[test]
    fn every_probe_has_one_hook() {
        for probe in Probe::ALL {
            assert_eq!(all().filter(|hook| hook.probe == *probe).count(), 1);
        }
    }
}
