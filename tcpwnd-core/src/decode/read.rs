//! One function a struct of the ABI, reading its fields in the order of its declaration.
//!
//! Constraint: the caller has checked that there are as many bytes as the struct has.

use bytes::Buf;
use tcpwnd_common::{
    Ack, Child, ClosedRecord, Connect, ConnectRecord, FlowKey, Handshake, HandshakeRecord, Header,
    Inputs, ProgressRecord, ProxySynAck, SynAck, TcpOptions, WindowRecord,
};

pub(super) fn header(buf: &mut impl Buf) -> Header {
    Header {
        version: buf.get_u16_ne(),
        kind: buf.get_u16_ne(),
        len: buf.get_u32_ne(),
        ktime_ns: buf.get_u64_ne(),
    }
}

pub(super) fn handshake_record(buf: &mut impl Buf) -> HandshakeRecord {
    HandshakeRecord {
        header: header(buf),
        flow: flow(buf),
        child: child(buf),
        record_found: buf.get_u32_ne(),
        handshake: handshake(buf),
        proxy: proxy(buf),
    }
}

pub(super) fn connect_record(buf: &mut impl Buf) -> ConnectRecord {
    ConnectRecord {
        header: header(buf),
        flow: flow(buf),
        child: child(buf),
        rcv_nxt: buf.get_u32_ne(),
        connect: connect(buf),
    }
}

pub(super) fn closed(buf: &mut impl Buf) -> ClosedRecord {
    ClosedRecord {
        header: header(buf),
        flow: flow(buf),
        srtt_us8: buf.get_u32_ne(),
        bytes_received: buf.get_u64_ne(),
        established_ktime_ns: buf.get_u64_ne(),
        role: buf.get_u32_ne(),
        reserved: buf.get_u32_ne(),
    }
}

pub(super) fn window(buf: &mut impl Buf) -> WindowRecord {
    WindowRecord {
        header: header(buf),
        flow: flow(buf),
        rcv_wnd: buf.get_u32_ne(),
        srtt_us8: buf.get_u32_ne(),
        rcv_wscale: buf.get_u8(),
        number: buf.get_u8(),
        last: buf.get_u8(),
        reserved: buf.get_u8(),
        established_ktime_ns: buf.get_u64_ne(),
    }
}

pub(super) fn progress(buf: &mut impl Buf) -> ProgressRecord {
    ProgressRecord {
        header: header(buf),
        flow: flow(buf),
        rcv_nxt: buf.get_u32_ne(),
        rcv_wup: buf.get_u32_ne(),
        rcv_wnd: buf.get_u32_ne(),
        rcv_tsecr: buf.get_u32_ne(),
        snd_una: buf.get_u32_ne(),
        snd_nxt: buf.get_u32_ne(),
        srtt_us8: buf.get_u32_ne(),
        number: buf.get_u32_ne(),
        rcv_wscale: buf.get_u32_ne(),
    }
}

fn array<const N: usize>(buf: &mut impl Buf) -> [u8; N] {
    let mut bytes = [0; N];
    buf.copy_to_slice(&mut bytes);
    bytes
}

fn flow(buf: &mut impl Buf) -> FlowKey {
    FlowKey {
        local_addr: array(buf),
        remote_addr: array(buf),
        netns: buf.get_u32_ne(),
        bound_ifindex: buf.get_u32_ne(),
        local_port: buf.get_u16_ne(),
        remote_port: buf.get_u16_ne(),
    }
}

fn child(buf: &mut impl Buf) -> Child {
    Child {
        snd_una: buf.get_u32_ne(),
        snd_wnd: buf.get_u32_ne(),
        rcv_wnd: buf.get_u32_ne(),
        window_clamp: buf.get_u32_ne(),
        rcv_ssthresh: buf.get_u32_ne(),
        srtt_us8: buf.get_u32_ne(),
        rcvbuf: buf.get_u32_ne(),
        mss_clamp: buf.get_u16_ne(),
        advmss: buf.get_u16_ne(),
        rcv_wscale: buf.get_u8(),
        snd_wscale: buf.get_u8(),
        flags: buf.get_u8(),
        outcome: buf.get_u8(),
        sysctl_window_scaling: buf.get_u8(),
        sysctl_timestamps: buf.get_u8(),
        reserved: array(buf),
    }
}

fn connect(buf: &mut impl Buf) -> Connect {
    Connect {
        begun_ktime_ns: buf.get_u64_ne(),
        seq: buf.get_u32_ne(),
        acknowledged: buf.get_u32_ne(),
        window_clamp: buf.get_u32_ne(),
        rcv_wscale: buf.get_u8(),
        tcp_flags: buf.get_u8(),
        begun_window_scaling: buf.get_u8(),
        begun_timestamps: buf.get_u8(),
        flags: buf.get_u8(),
        reserved: array(buf),
        options: options(buf),
    }
}

fn handshake(buf: &mut impl Buf) -> Handshake {
    Handshake {
        first: synack(buf),
        last: synack(buf),
        inputs: inputs(buf),
        cookie_inputs: inputs(buf),
        syn: options(buf),
        ack: ack(buf),
        synacks: buf.get_u32_ne(),
        flags: buf.get_u32_ne(),
        cookie_window_clamp: buf.get_u32_ne(),
        syn_ack: buf.get_u32_ne(),
        reserved: buf.get_u32_ne(),
    }
}

fn proxy(buf: &mut impl Buf) -> ProxySynAck {
    ProxySynAck {
        ktime_ns: buf.get_u64_ne(),
        isn: buf.get_u32_ne(),
        synacks: buf.get_u32_ne(),
        options: options(buf),
        wscale: buf.get_u8(),
        flags: buf.get_u8(),
        reserved: array(buf),
    }
}

fn synack(buf: &mut impl Buf) -> SynAck {
    SynAck {
        ktime_ns: buf.get_u64_ne(),
        isn: buf.get_u32_ne(),
        window_clamp: buf.get_u32_ne(),
        rcv_wscale: buf.get_u8(),
        snd_wscale: buf.get_u8(),
        flags: buf.get_u8(),
        kind: buf.get_u8(),
        options: options(buf),
    }
}

fn inputs(buf: &mut impl Buf) -> Inputs {
    Inputs {
        listener: buf.get_u64_ne(),
        cgroup: buf.get_u64_ne(),
        rcvbuf: buf.get_u32_ne(),
        window_clamp: buf.get_u32_ne(),
        tcp_rmem_max: buf.get_u32_ne(),
        route_window: buf.get_u32_ne(),
        accept_queue_len: buf.get_u32_ne(),
        accept_queue_limit: buf.get_u32_ne(),
        syn_queue_len: buf.get_u32_ne(),
        userlocks: buf.get_u8(),
        scaling_ratio: buf.get_u8(),
        adv_win_scale: buf.get_i8(),
        sysctl_window_scaling: buf.get_u8(),
        sysctl_timestamps: buf.get_u8(),
        complete: buf.get_u8(),
        present: buf.get_u8(),
        reserved: buf.get_u8(),
        rcvlowat: buf.get_u32_ne(),
    }
}

fn options(buf: &mut impl Buf) -> TcpOptions {
    TcpOptions {
        len: buf.get_u8(),
        present: buf.get_u8(),
        window: buf.get_u16_ne(),
        bytes: array(buf),
    }
}

fn ack(buf: &mut impl Buf) -> Ack {
    Ack {
        snd_una: buf.get_u32_ne(),
        options: options(buf),
    }
}
