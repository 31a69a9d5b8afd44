//! The TCP counters of this process' network namespace: TcpExt of /proc/net/netstat.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Reads them, by name.
///
/// # Errors
/// When the file cannot be read.
pub fn read() -> io::Result<BTreeMap<String, u64>> {
    fs::read_to_string("/proc/net/netstat").map(|text| tcp_ext(&text))
}

/// A line of names, then a line of values, each with the group's name before it
/// (`netstat_seq_show`, net/ipv4/proc.c, 6.12).
fn tcp_ext(text: &str) -> BTreeMap<String, u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return BTreeMap::new();
    };
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_and_values_are_paired_within_their_group() {
        let text = "TcpExt: SyncookiesSent ListenDrops TCPBacklogDrop\n\
                    TcpExt: 12 3 0\n\
                    IpExt: InNoRoutes ListenDrops\nIpExt: 1 99\n";
        let counters: Vec<_> = super::tcp_ext(text).into_iter().collect();
        let expected = [
            ("ListenDrops", 3),
            ("SyncookiesSent", 12),
            ("TCPBacklogDrop", 0),
        ];
        assert_eq!(
            counters,
            expected.map(|(name, count)| (name.to_owned(), count))
        );
        assert!(super::tcp_ext("IpExt: InNoRoutes\nIpExt: 1\n").is_empty());
    }

    #[test]
    fn this_kernel_counts_cookies() {
        assert!(super::read().unwrap().contains_key("SyncookiesSent"));
    }
}
