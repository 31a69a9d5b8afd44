//! `int tcp_rcv_state_process(struct sock *sk, struct sk_buff *skb)` (net/ipv4/tcp_input.c; the
//! result became a drop reason later).
//!
//! Run for the ACK of every passive handshake, for the SYN+ACK of every active one, and for each
//! packet of half-closed connections: everything but SYN_RECV and SYN_SENT leaves at once, and of
//! these two what was not asked for. A Fast Open child passes here in SYN_RECV for every packet until
//! it is confirmed; the last one counts.

use super::{active_open, states};
use crate::counters::run;
use crate::env::Env;
use crate::maps::HANDSHAKES;
use crate::read::{Object, Result};
use crate::{flow, options};
use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use tcpwnd_common::{Ack, Field, FlowKey, Probe, TcpOptions};

const NO_ACK: Ack = Ack {
    snd_una: 0,
    options: TcpOptions {
        len: 0,
        present: 0,
        window: 0,
        bytes: [0; 40],
    },
};

#[fentry(function = "tcp_rcv_state_process")]
pub fn rcv_state_process_fentry(ctx: FEntryContext) -> i32 {
    if let Some(env) = Env::new(&ctx) {
        let (sk, skb) = (env.argument(ctx.arg(0)), env.argument(ctx.arg(1)));
        entered(sk, skb);
    }
    0
}

#[kprobe]
pub fn rcv_state_process_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(env), Some(sk), Some(skb)) = (Env::new(&ctx), ctx.arg(0), ctx.arg(1)) {
        entered(env.object(sk), env.object(skb));
    }
    0
}

#[inline(always)]
fn entered(sk: Object, skb: Object) {
    let Ok(state) = sk.get::<u8>(Field::State) else {
        return;
    };
    // Without the note the verdict says that the packet was not seen; nothing to do here.
    if sk.env.serves() && state as u32 == states::SYN_RECV {
        run(Probe::RcvStateProcess);
        let _ = note(sk, skb);
    } else if sk.env.connects() && state as u32 == states::SYN_SENT {
        run(Probe::RcvStateProcess);
        let _ = active_open::answered(sk, skb);
    }
}

/// Notes what the packet carried with the handshake of its flow.
#[inline(always)]
fn note(sk: Object, skb: Object) -> Result<()> {
    let mut key = FlowKey::ZERO;
    flow::of_socket(sk, &mut key)?;
    if !flow::wanted(sk.env, &key) {
        return Ok(());
    }
    let Some(known) = HANDSHAKES.get_ptr_mut(key) else {
        return Ok(());
    };
    let snd_una = sk.get(Field::SndUna)?;
    let header = options::tcp_header(skb)?;
    // SAFETY: see make_synack::record.
    let ack = unsafe { &mut (*known).ack };
    *ack = NO_ACK;
    ack.snd_una = snd_una;
    options::copy(header, &mut ack.options)
}
