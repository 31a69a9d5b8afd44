//! What the kernel says about this process, for the `process_*` metrics, and its memory.

/// Figures of this process; `None` where /proc does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// User and system time, seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, bytes.
    pub resident_bytes: Option<u64>,
    /// Virtual memory, bytes.
    pub virtual_bytes: Option<u64>,
    /// When it started, seconds since the epoch.
    pub start_time: Option<f64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Limit of open file descriptors.
    pub max_fds: Option<u64>,
}

impl Process {
    /// Reads them.
    #[must_use]
    pub fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let mut process = Self::from_stat(&stat, ticks_per_second(), boot_time());
        process.open_fds = std::fs::read_dir("/proc/self/fd")
            .ok()
            .map(|dir| dir.count() as u64);
        process.max_fds = max_fds();
        process
    }

    /// `stat` as proc(5) describes it; the fields after the command's closing bracket begin with
    /// number 3.
    fn from_stat(stat: &str, ticks: Option<f64>, boot: Option<f64>) -> Self {
        let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = after.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |number| Some(field(number)? as f64 / ticks?);
        Self {
            cpu_seconds: seconds(14).and_then(|user| Some(user + seconds(15)?)),
            threads: field(20),
            start_time: seconds(22).and_then(|start| Some(start + boot?)),
            virtual_bytes: field(23),
            resident_bytes: field(24).and_then(|pages| Some(pages * page_bytes()?)),
            open_fds: None,
            max_fds: None,
        }
    }
}

/// Gives memory that is free back to the system: reading the kernel's BTF takes many times what
/// is needed afterwards, and the allocator would keep it for good.
pub fn release_memory() {
    // SAFETY: may be called at any time; memory in use is not touched.
    unsafe { libc::malloc_trim(0) };
}

fn sysconf(name: libc::c_int) -> Option<u64> {
    // SAFETY: sysconf takes any number and touches no memory of ours.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).ok()
}

fn page_bytes() -> Option<u64> {
    sysconf(libc::_SC_PAGESIZE)
}

fn ticks_per_second() -> Option<f64> {
    sysconf(libc::_SC_CLK_TCK).map(|ticks| ticks as f64)
}

/// When the machine started, seconds since the epoch.
fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn max_fds() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that the call fills.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0;
    (!failed).then_some(limit.rlim_cur)
}

/// Keeps the kernel from giving this process huge pages. What reading the kernel's types takes at the
/// start leaves a heap of many megabytes with little in it; khugepaged would fill that up again.
pub fn without_huge_pages() {
    // It fails where the kernel has none.
    // SAFETY: takes numbers only, touches no memory of ours.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::{Process, without_huge_pages};

    #[test]
    fn command_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 400 8192 2 0";
        let process = Process::from_stat(stat, Some(100.0), Some(1000.0));
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!(process.threads, Some(3));
        assert_eq!(process.start_time, Some(1004.0));
        assert_eq!(process.virtual_bytes, Some(8192));
    }

    #[test]
    fn own_figures_are_plausible() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.threads.unwrap() >= 1);
        assert!(process.start_time.unwrap() > 1_500_000_000.0);
    }

    #[test]
    fn there_are_no_huge_pages() {
        without_huge_pages();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("THP_enabled"));
        // Kernels that were built without them have no such line.
        assert!(line.is_none_or(|line| line.ends_with("\t0")), "{line:?}");
    }
}
