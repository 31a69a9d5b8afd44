//! The network laboratory: PID 1 of the test VM, and the scenarios that run in it.
//!
//! Only decides which of the two it is; everything else lives in the modules.

mod agent;
mod alert;
mod ao;
mod bpf;
mod bpf_calls;
mod bpf_program;
mod bpf_request;
mod broker;
mod cgroup;
mod cli;
mod client;
mod confined;
mod cost;
mod crowd;
mod demo;
mod ends;
mod findings;
mod held;
mod hooks;
mod http;
mod init;
mod md5;
mod mounts;
mod net;
mod node_exporter;
mod packet;
mod peer;
mod poll;
mod producers;
mod prometheus;
mod restart_script;
mod scenarios;
mod soak;
mod socket;
mod stand_in;
mod trace_probe;
mod tun;
mod unit_tests;
mod usage;
mod wait;
mod witness;
mod xdp_cookie;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        init::run()
    } else {
        cli::run()
    }
}
