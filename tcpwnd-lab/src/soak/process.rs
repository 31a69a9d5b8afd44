//! What the kernel says of a running process.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long a connection to it may take to close on its side.
const CLOSING: Duration = Duration::from_secs(1);

/// A running process.
#[derive(Debug)]
pub struct Process {
    folder: String,
}

impl Process {
    /// The one with this number.
    pub fn of(pid: u32) -> Self {
        Self {
            folder: format!("/proc/{pid}"),
        }
    }

    /// Memory that it has for itself and shares with others (VmRSS), in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident(&self) -> Result<u64> {
        let text = self.read("status")?;
        kibibytes(&text, "VmRSS:").context("the kernel does not say VmRSS")
    }

    /// What of that are mappings of BPF maps, whose memory is the kernel's, in bytes: a ring buffer is
    /// mapped twice, and counts twice.
    ///
    /// # Errors
    /// As [`Self::resident`].
    pub fn resident_of_maps(&self) -> Result<u64> {
        Ok(of_maps(&self.read("smaps")?))
    }

    /// Open file descriptors.
    ///
    /// # Errors
    /// As [`Self::resident`].
    pub fn descriptors(&self) -> Result<usize> {
        let path = format!("{}/fd", self.folder);
        let list = fs::read_dir(&path).with_context(|| format!("failed to read {path}"))?;
        Ok(list.count())
    }

    /// Open file descriptors once they are no more than there were `before`, or those that stay: the
    /// process may not have closed the connection yet by which it was asked something.
    ///
    /// # Errors
    /// As [`Self::resident`].
    pub fn lasting_descriptors(&self, before: usize) -> Result<usize> {
        lasting(before, || self.descriptors())
    }

    /// Time on processors, its own and the kernel's for it.
    ///
    /// # Errors
    /// As [`Self::resident`].
    pub fn cpu(&self) -> Result<Duration> {
        let text = self.read("stat")?;
        // SAFETY: takes a number only.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        let used = ticks_of(&text).context("the kernel does not say what time it took")?;
        Ok(Duration::from_secs_f64(used as f64 / ticks as f64))
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = format!("{}/{name}", self.folder);
        fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
    }
}

fn lasting(before: usize, mut look: impl FnMut() -> Result<usize>) -> Result<usize> {
    let begin = Instant::now();
    loop {
        let now = look()?;
        if now <= before || begin.elapsed() > CLOSING {
            return Ok(now);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A line such as `VmRSS:    9120 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * number)
}

/// The sum of `Rss:` in those parts of `/proc/PID/smaps` that are BPF maps, in bytes.
fn of_maps(smaps: &str) -> u64 {
    let (mut sum, mut is_of_map) = (0, false);
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if !first.ends_with(':') {
            is_of_map = line.ends_with("anon_inode:bpf-map");
        } else if is_of_map {
            sum += kibibytes(line, "Rss:").unwrap_or(0);
        }
    }
    sum
}

/// utime and stime, the 14th and 15th field of `/proc/PID/stat`; the second one, the name, may have
/// blanks.
fn ticks_of(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(
            kibibytes("VmHWM:\t 9 kB\nVmRSS:\t    8 kB\n", "VmRSS:"),
            Some(8_192)
        );
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 30 12 13 14";
        assert_eq!(ticks_of(stat), Some(42));
    }

    #[test]
    fn what_stays_open_is_counted_and_what_is_being_closed_is_not() {
        let mut looks = [8, 8, 7].into_iter();
        assert_eq!(lasting(7, || Ok(looks.next().unwrap())).unwrap(), 7);
        assert_eq!(lasting(7, || Ok(8)).unwrap(), 8);
    }

    #[test]
    fn mappings_of_maps_are_told_from_others() {
        let smaps = "7f0-7f4 rw-s 00000000 00:0f 7  anon_inode:bpf-map\nSize:   16 kB\nRss:   12 kB\n\
                     7f4-7f8 r--p 00000000 00:0f 7  /bin/x: y\nRss:    4 kB\n\
                     7f8-7fc rw-s 00000000 00:0f 7  anon_inode:bpf-map\nRss:    1 kB\n";
        assert_eq!(of_maps(smaps), 13 * 1024);
    }

    #[test]
    fn this_process_is_measured() {
        let this = Process::of(std::process::id());
        assert!(this.resident().unwrap() > 0 && this.descriptors().unwrap() > 2);
        this.cpu().unwrap();
    }
}
