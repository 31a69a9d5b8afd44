//! The ABI between tcpwnd's kernel programs and its agent.
//!
//! Constraint: everything here is plain memory. Records are `repr(C)`, made of fixed-width
//! integers and byte arrays, without implicit padding, and their layout is asserted at compile
//! time for the kernel side and the user side alike. Raise [`ABI_VERSION`] whenever a layout
//! changes. Integers are in host byte order unless a field's name or documentation says
//! otherwise.

#![no_std]

mod config;
mod connect;
mod counters;
mod fields;
mod flow;
mod handshake;
mod layout;
mod listener;
mod records;
mod settings;

pub use config::{
    Config, FAMILY_IPV4, FAMILY_IPV6, MAX_PORT_RANGES, PortRange, ROLE_CLIENT, ROLE_SERVER,
};
pub use connect::{Connect, ConnectRecord, connect_flags};
pub use counters::{COUNTER_COUNT, Counter, CpuCounters, PROBE_COUNT, Probe};
pub use fields::{FIELD_COUNT, Field, FieldRef, FieldTable};
pub use flow::FlowKey;
pub use handshake::{
    Ack, Handshake, Inputs, ProxySynAck, SynAck, TcpOptions, handshake_flags, proxy_flags,
    synack_flags,
};
pub use listener::{LISTENER_SLOTS, ListenerKey, ListenerSlot};
pub use records::{
    Child, ClosedRecord, HandshakeRecord, Header, Kind, Outcome, ProgressRecord, Suspect,
    WindowRecord, child_flags,
};
pub use settings::{KernelTraits, PortSet, Settings};

/// Version of every layout in this crate; the first field of every record carries it.
pub const ABI_VERSION: u16 = 5;

/// Longest TCP option area, in bytes (RFC 9293, section 3.1: data offset is at most 15 words).
pub const MAX_TCP_OPTIONS: usize = 40;

/// Windows that are recorded of a connection under watch before the watch ends.
pub const WINDOWS_PER_WATCH: u32 = 8;

/// Records that are made of a suspect of `scan` before it is left alone.
pub const RECORDS_PER_SUSPECT: u32 = 4096;

/// Suspects of `scan` that can be watched at once.
pub const SUSPECT_LIMIT: u32 = 4096;
