//! How figures are said.

/// Bytes of a MiB.
pub const MIB: f64 = (1 << 20) as f64;

/// How the names of programs that do nothing begin; the way to hook is the rest.
pub const EMPTY: &str = "empty ";

/// Who watches, in words.
pub fn who(watcher: &str) -> &str {
    match watcher {
        "fentry" => "`tcpwnd run` (fentry, fexit, raw tracepoint)",
        "kprobe" => "`tcpwnd run --mechanism kprobe`",
        "trace" => "`tcpwnd trace`, nothing under watch",
        "trace, one watched" => "`tcpwnd trace`, one other connection under watch",
        "c" => "the same capture in C",
        "talk" => "the way of the talk",
        "bpftrace" => "bpftrace, only the two scales",
        "bpftrace evidence" => "bpftrace, most of the evidence",
        "bpftrace talk" => "bpftrace, the way of the talk",
        "empty fentry" => "an empty fentry",
        "empty kprobe" => "an empty kprobe",
        other => other,
    }
}

/// Which work, in words.
pub fn what(work: &str) -> &str {
    match work {
        "normal" => "handshake",
        "cookie" => "handshake by SYN cookie",
        "transfer" => "MB of one connection",
        "transfer of 999" => "MB of 999 connections",
        "half-closed" => "segment, half-closed",
        other => other,
    }
}

/// In MiB.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB)
}

/// A whole number with its thousands apart.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let minus = if value < 0.0 && digits != "0" {
        "−"
    } else {
        ""
    };
    format!("{minus}{text}")
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(-0.4), "0");
        assert_eq!(thousands(999.6), "1,000");
        assert_eq!(thousands(-1_234_567.0), "−1,234,567");
    }
}
