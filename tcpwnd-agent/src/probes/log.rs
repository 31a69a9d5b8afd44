//! The programs' own messages, on stderr, for people who work on the programs.
//!
//! Constraint: only with the feature `debug-log`; it brings a second ring buffer and a map, which
//! no shipped agent has.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("{}: {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

/// Prints messages from now until the runtime ends. To be called before a program is loaded: they
/// refer to the map that is taken here.
///
/// # Errors
///
/// When the runtime cannot watch the map, or the object was built without messages.
pub fn start(ebpf: &mut Ebpf) -> io::Result<()> {
    let logger = EbpfLogger::init_with_logger(ebpf, Stderr).map_err(io::Error::other)?;
    // SAFETY: the descriptor is that of the map, which the logger owns and never exchanges.
    let mut logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)?;
    tokio::spawn(async move {
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
    Ok(())
}
