//! TCP states that the programs know (include/net/tcp_states.h).

pub const ESTABLISHED: u32 = 1;
pub const SYN_SENT: u32 = 2;
pub const SYN_RECV: u32 = 3;
pub const CLOSE: u32 = 7;
pub const LISTEN: u32 = 10;
