//! Waiting for many descriptors at once (epoll, level-triggered).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result};

/// A set of descriptors that are waited for.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> Result<Self> {
        // SAFETY: takes no pointer.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error()).context("failed to create an epoll set");
        }
        // SAFETY: the descriptor is new and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { epoll })
    }

    /// Adds a descriptor; closing it removes it.
    ///
    /// # Errors
    /// When it is there already or cannot be waited for.
    pub fn add(&self, descriptor: BorrowedFd<'_>) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor, libc::EPOLLIN)
    }

    /// Adds a socket that is connecting: it is ready when that is over. [`Self::expect_data`] is next.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_connecting(&self, socket: BorrowedFd<'_>) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, libc::EPOLLOUT)
    }

    /// Waits for what a socket receives, which was connecting until now.
    ///
    /// # Errors
    /// When it is not there.
    pub fn expect_data(&self, socket: BorrowedFd<'_>) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, libc::EPOLLIN)
    }

    /// Removes a descriptor.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, descriptor: BorrowedFd<'_>) -> Result<()> {
        self.control(libc::EPOLL_CTL_DEL, descriptor, 0)
    }

    fn control(&self, operation: i32, descriptor: BorrowedFd<'_>, events: i32) -> Result<()> {
        let descriptor = descriptor.as_raw_fd();
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: descriptor as u64,
        };
        // SAFETY: `event` outlives the call, which copies it.
        let done = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                operation,
                descriptor,
                &raw mut event,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error()).context("failed to change an epoll set");
        }
        Ok(())
    }

    /// Waits until something is ready, at most `patience`, and returns what is.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Vec<RawFd> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the pointer and the count describe `events`.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as i32,
                milliseconds,
            )
        };
        // Negative when a signal came: nothing is ready then.
        let count = usize::try_from(count).unwrap_or(0);
        events[..count]
            .iter()
            .map(|event| event.u64 as RawFd)
            .collect()
    }
}
