//! Connections whose request a BPF program made, by the kernel function
//! `bpf_sk_assign_tcp_reqsk` (net/core/filter.c, 6.9): the program answered the SYN itself, with a
//! cookie of its own kind, and says what was agreed when the ACK comes. No SYN+ACK of theirs
//! passes through `tcp_make_synack`.
//!
//! `tcp_get_cookie_sock` (net/ipv4/syncookies.c) gets such a request with `syncookie` set. That of
//! an ordinary cookie has it cleared (`reqsk_alloc`, net/ipv4/inet_connection_sock.c, from 6.9 on);
//! on kernels without the function it is whatever lay there before.

use crate::flow;
use crate::maps::HANDSHAKES;
use crate::read::{Object, Result};
use crate::scratch::{Builder, handshake};
use tcpwnd_common::{Field, FlowKey, handshake_flags};

/// Marks the flow of a request that a BPF program made. Without the mark the verdict says that
/// there is no record; nothing to do here then.
#[inline(always)]
pub fn look_at(req: Object) {
    if req.env.bpf_requests() && req.env.has(Field::ReqSyncookie) {
        let _ = mark(req);
    }
}

#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack, which has 512 bytes"
)]
#[inline(always)]
fn mark(req: Object) -> Result<()> {
    if req.low(Field::ReqSyncookie)? == 0 {
        return Ok(());
    }
    let mut key = FlowKey::ZERO;
    flow::of_request(req, &mut key)?;
    if !flow::wanted(req.env, &key) {
        return Ok(());
    }
    // What the ACK acknowledges, less 1.
    let isn: u32 = req.get(Field::ReqSntIsn)?;
    if let Some(known) = HANDSHAKES.get_ptr(&key) {
        // SAFETY: see make_synack::record.
        if unsafe { (*known).first.isn } == isn {
            // The program took in what the stack had answered.
            return Ok(());
        }
    }
    if let Some(new) = handshake(Builder::GetCookieSock) {
        new.first.isn = isn;
        new.flags = handshake_flags::BPF_REQUEST;
        let _ = HANDSHAKES.insert(&key, &*new, 0);
    }
    Ok(())
}
