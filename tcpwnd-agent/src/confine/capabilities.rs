//! Giving up what is needed no longer.

use std::io;

/// Of capset(2) and capget(2): two words of 32 capabilities each.
const VERSION_3: u32 = 0x2008_0522;

/// Numbers that a word of capabilities has room for.
const CAPABILITIES: libc::c_ulong = 64;

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

/// Gives up every capability of this thread, for good, and every way to get one.
///
/// # Errors
/// What the system says; the capabilities are then as they were.
pub fn drop_all() -> io::Result<()> {
    // Root would get them back with the next exec.
    control(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    for capability in 0..CAPABILITIES {
        // It takes CAP_SETPCAP, which the service does not have, and nothing that is not inherited
        // comes back without an exec. Other numbers the kernel does not know.
        let _ = control(libc::PR_CAPBSET_DROP, capability);
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

fn control(what: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the operations used here take numbers only and touch no memory of ours.
    if unsafe { libc::prctl(what, value, zero, zero, zero) } == 0 {
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
            super::drop_all().unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let status = left.join().unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(
                status.contains(&format!("{set}:\t0000000000000000\n")),
                "{status}"
            );
        }
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    }
}
