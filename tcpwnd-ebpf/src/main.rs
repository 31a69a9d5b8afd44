//! tcpwnd's kernel programs: what a SYN+ACK advertised, what the socket uses, and what both were
//! decided from.
//!
//! One hook, one file, in `probes/`; each has one handler that fentry/fexit and kprobe/kretprobe
//! programs share. `read` is the only place that reads kernel memory. Nothing here decides
//! whether a connection is damaged: the programs only note, pair and send.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod child;
mod context;
mod counters;
mod env;
mod events;
mod flow;
mod inputs;
mod listeners;
mod maps;
mod noted;
mod options;
mod probes;
mod read;
mod scratch;

/// bpf_probe_read_kernel and others are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
