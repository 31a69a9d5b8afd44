//! Serial ports as byte pipes to the outside: raw, so that every byte arrives as it was written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::Context;

/// One serial port of the VM, opened for writing and reading.
pub struct Port(File);

impl Port {
    /// Opens `path` in raw mode.
    ///
    /// # Errors
    ///
    /// When the port is not there or is no terminal.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let port = Self::open_cooked(path)?;
        port.set_modes(|modes| {
            // SAFETY: `modes` is a termios that tcgetattr filled in.
            unsafe { libc::cfmakeraw(modes) };
        })
        .with_context(|| format!("make {} raw", path.display()))?;
        Ok(port)
    }

    /// Opens `path` with a terminal's line discipline, for people.
    ///
    /// # Errors
    ///
    /// When the port is not there or is no terminal.
    pub fn open_cooked(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
        let port = Self(file);
        // The driver derives its time-outs from the speed; the emulated port has none.
        port.set_modes(|modes| {
            modes.c_cflag = modes.c_cflag & !libc::CBAUD | libc::B115200;
        })
        .with_context(|| format!("set the speed of {}", path.display()))?;
        Ok(port)
    }

    /// The file behind the port.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Waits until all that was written has left the port.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn drain(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open as long as `self` lives.
        check(unsafe { libc::tcdrain(self.0.as_raw_fd()) })
    }

    fn set_modes(&self, change: impl FnOnce(&mut libc::termios)) -> io::Result<()> {
        let mut modes = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: `modes` has room for a termios, and the descriptor is open.
        check(unsafe { libc::tcgetattr(self.0.as_raw_fd(), modes.as_mut_ptr()) })?;
        // SAFETY: tcgetattr succeeded and so filled it in.
        let mut modes = unsafe { modes.assume_init() };
        change(&mut modes);
        // SAFETY: `modes` is a valid termios, and the descriptor is open.
        check(unsafe { libc::tcsetattr(self.0.as_raw_fd(), libc::TCSANOW, &modes) })
    }
}

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
