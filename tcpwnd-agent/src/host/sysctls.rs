//! The settings of this process' network namespace that damage to window scales depends on.
//!
//! Constraint: what the namespace does not show is not known. In 5.10 and 6.1 that is
//! `net.core.rmem_max` in any namespace but the first.

use tcpwnd_core::risk::Settings;

use super::sysctl;

/// What is to be said where it is not known whether this kernel heeds `tcp_adv_win_scale`.
pub const NO_BTF: &str = "how much of a receive buffer becomes window: this kernel shows no BTF; \
                          taken to be half, as by default";

/// Reads them. `heeds_adv_win_scale`: this kernel computes windows by `tcp_adv_win_scale`.
#[must_use]
pub fn read(heeds_adv_win_scale: bool) -> Settings {
    Settings {
        tcp_syncookies: sysctl("net/ipv4/tcp_syncookies"),
        tcp_timestamps: sysctl("net/ipv4/tcp_timestamps"),
        tcp_window_scaling: sysctl("net/ipv4/tcp_window_scaling"),
        somaxconn: sysctl("net/core/somaxconn"),
        tcp_max_syn_backlog: sysctl("net/ipv4/tcp_max_syn_backlog"),
        tcp_rmem_default: tcp_rmem_default(),
        tcp_rmem_max: sysctl("net/ipv4/tcp_rmem"),
        rmem_max: sysctl("net/core/rmem_max"),
        tcp_adv_win_scale: heeds_adv_win_scale
            .then(|| sysctl("net/ipv4/tcp_adv_win_scale"))
            .flatten(),
    }
}

/// The second of `tcp_rmem`'s three values.
fn tcp_rmem_default() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// What could not be read of them, a sentence each.
#[must_use]
pub fn unseen(settings: &Settings) -> Vec<String> {
    let all = [
        ("net.ipv4.tcp_syncookies", settings.tcp_syncookies),
        ("net.ipv4.tcp_timestamps", settings.tcp_timestamps),
        ("net.ipv4.tcp_window_scaling", settings.tcp_window_scaling),
        ("net.core.somaxconn", settings.somaxconn),
        ("net.ipv4.tcp_max_syn_backlog", settings.tcp_max_syn_backlog),
        ("net.ipv4.tcp_rmem", settings.tcp_rmem_max),
    ];
    let mut unseen: Vec<_> = all
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| format!("{name}: this network namespace does not show it"))
        .collect();
    if settings.rmem_max.is_none() {
        unseen.push(
            "net.core.rmem_max: this network namespace does not show it; scales are computed as if \
             it were not above tcp_rmem[2]"
                .to_owned(),
        );
    }
    unseen
}

#[cfg(test)]
mod tests {
    use super::{read, unseen};

    #[test]
    fn what_is_not_shown_is_named() {
        let settings = tcpwnd_core::risk::Settings {
            somaxconn: None,
            rmem_max: None,
            ..read(false)
        };
        let unseen = unseen(&settings);
        assert!(
            unseen
                .iter()
                .any(|one| one.starts_with("net.core.somaxconn:"))
        );
        assert!(
            unseen
                .iter()
                .any(|one| one.starts_with("net.core.rmem_max:"))
        );
        assert!(
            !unseen.iter().any(|one| one.contains("tcp_rmem:")),
            "{unseen:?}"
        );
    }

    #[test]
    fn default_and_largest_receive_buffer_are_told_apart() {
        let settings = read(false);
        assert!(
            settings.tcp_rmem_default < settings.tcp_rmem_max,
            "{settings:?}"
        );
        assert_eq!(settings.tcp_adv_win_scale, None);
    }
}
