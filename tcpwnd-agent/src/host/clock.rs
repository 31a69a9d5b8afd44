//! The two clocks: the kernel's records carry CLOCK_MONOTONIC, people want the time of day.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Now, in nanoseconds of CLOCK_MONOTONIC (`bpf_ktime_get_ns`).
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec that the call fills; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// The time of day at a moment of CLOCK_MONOTONIC.
///
/// Asks both clocks anew each time: the offset between them changes whenever the time is set.
#[must_use]
pub fn wall(ktime_ns: u64) -> Timestamp {
    let age = monotonic_ns().saturating_sub(ktime_ns);
    let age = jiff::SignedDuration::from_nanos(i64::try_from(age).unwrap_or(i64::MAX));
    Timestamp::now()
        .checked_sub(age)
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The moment of CLOCK_MONOTONIC at a time of day, nanoseconds; 0 for what was before the host
/// began, `None` for what is yet to come. Never later than it was.
#[must_use]
pub fn ktime_ns(time: Timestamp) -> Option<u64> {
    // In this order: what passes between the two makes it older.
    let now = monotonic_ns();
    let age = u64::try_from(Timestamp::now().duration_since(time).as_nanos()).ok()?;
    Some(now.saturating_sub(age))
}

/// RFC 3339, UTC, microseconds.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// Hours, minutes and seconds in the host's time zone, as in `bcc`'s tables.
#[must_use]
pub fn hms(time: Timestamp, zone: &TimeZone) -> String {
    let local = zone.to_datetime(time);
    format!(
        "{:02}:{:02}:{:02}",
        local.hour(),
        local.minute(),
        local.second()
    )
}

#[cfg(test)]
mod tests {
    use super::{hms, ktime_ns, monotonic_ns, rfc3339, wall};

    #[test]
    fn wall_time_of_now_is_now() {
        let before = jiff::Timestamp::now();
        let wall = wall(monotonic_ns());
        let off = wall.duration_since(before).abs();
        assert!(off < jiff::SignedDuration::from_secs(2), "{off:?}");
    }

    #[test]
    fn there_and_back_again() {
        let minute_ago = monotonic_ns().saturating_sub(60_000_000_000);
        let back = ktime_ns(wall(minute_ago)).unwrap();
        assert!(back.abs_diff(minute_ago) < 2_000_000_000, "{back}");
        let hour = jiff::SignedDuration::from_hours(1);
        assert_eq!(ktime_ns(jiff::Timestamp::now() + hour), None);
        assert_eq!(ktime_ns(jiff::Timestamp::UNIX_EPOCH), Some(0));
    }

    #[test]
    fn times_are_printed_with_fixed_width() {
        let time = jiff::Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20.000000Z");
        assert_eq!(hms(time, &jiff::tz::TimeZone::UTC), "22:13:20");
    }
}
