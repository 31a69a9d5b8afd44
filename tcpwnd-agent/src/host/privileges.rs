//! Giving up what is needed no longer.

use std::io;

/// Of capset(2) and capget(2): two words of 32 capabilities each.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up every capability of this thread, for good. The agent has no other thread.
///
/// # Errors
/// What the system says; the capabilities are then as they were.
pub fn drop_capabilities() -> io::Result<()> {
    // Root would get them back with the next exec.
    // SAFETY: takes numbers only, touches no memory of ours.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let none = [Data {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: both point to what this version of the call reads, for as long as it takes.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_left_in_the_thread_that_asks() {
        let left = std::thread::spawn(|| {
            super::drop_capabilities().unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let status = left.join().unwrap();
        for set in ["CapInh", "CapPrm", "CapEff"] {
            assert!(
                status.contains(&format!("{set}:\t0000000000000000\n")),
                "{status}"
            );
        }
    }
}
