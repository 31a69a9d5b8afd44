//! What the kernel computes a window scale from, read from the listener and its namespace.
//!
//! The computation is `tcp_select_initial_window` (net/ipv4/tcp_output.c, 5.10): the largest of
//! the listener's full space, `tcp_rmem[2]` and `rmem_max`, limited by the window clamp, which
//! is the socket's, else the route's metric. `rmem_max` is no field of anything that is at hand
//! here; the agent reads it from /proc/sys.

use crate::flow::netns_object;
use crate::read::{Object, Result};
use tcpwnd_common::{Field, Inputs};

/// Index of the window metric in a route's metrics: RTAX_WINDOW − 1
/// (include/uapi/linux/rtnetlink.h).
const METRIC_WINDOW: usize = 2;

/// Fills `into`, which must be zero; what cannot be read leaves `complete` at 0.
#[inline(always)]
pub fn fill(listener: Object, dst: Object, into: &mut Inputs) {
    into.present = 1;
    if socket(listener, into).is_ok()
        && namespace(listener, into).is_ok()
        && route(dst, into).is_ok()
    {
        into.complete = 1;
    }
}

#[inline(always)]
fn socket(sk: Object, into: &mut Inputs) -> Result<()> {
    // SOCK_INODE (include/net/sock.h) is the inode in the struct that begins with the socket.
    into.listener = sk.follow(Field::Socket)?.get(Field::SocketInode)?;
    // No verdict depends on it.
    into.cgroup = cgroup(sk).unwrap_or(0);
    into.rcvbuf = sk.get(Field::RcvBuf)?;
    into.rcvlowat = sk.get(Field::RcvLowat)?;
    into.window_clamp = sk.get(Field::WindowClamp)?;
    into.userlocks = sk.low(Field::UserLocks)?;
    into.scaling_ratio = sk.low(Field::ScalingRatio)?;
    into.accept_queue_len = sk.get(Field::AckBacklog)?;
    into.accept_queue_limit = sk.get(Field::MaxAckBacklog)?;
    into.syn_queue_len = sk.get(Field::SynQueueLen)?;
    Ok(())
}

/// Id of the cgroup that a socket was made in; 0 for none. It is the socket's own, whoever is
/// interrupted by the packet.
#[inline(always)]
fn cgroup(sk: Object) -> Result<u64> {
    let known =
        sk.env.has(Field::SockCgroup) && sk.env.has(Field::CgroupNode) && sk.env.has(Field::NodeId);
    if !known {
        return Ok(0);
    }
    let cgroup = sk.follow(Field::SockCgroup)?;
    // sock_cgroup_ptr (include/linux/cgroup-defs.h, 5.4): is_data and no_refcnt.
    if cgroup.is_null() || cgroup.id() & 3 != 0 {
        return Ok(0);
    }
    cgroup.follow(Field::CgroupNode)?.get(Field::NodeId)
}

#[inline(always)]
fn namespace(sk: Object, into: &mut Inputs) -> Result<()> {
    let net = netns_object(sk)?;
    into.tcp_rmem_max = net.get(Field::NetTcpRmemMax)?;
    into.sysctl_window_scaling = net.low(Field::NetTcpWindowScaling)?;
    into.sysctl_timestamps = net.low(Field::NetTcpTimestamps)?;
    // Signed and small (-31 to 31); its lowest byte is its value.
    into.adv_win_scale = net.low(Field::NetTcpAdvWinScale)? as i8;
    Ok(())
}

#[inline(always)]
fn route(dst: Object, into: &mut Inputs) -> Result<()> {
    if dst.is_null() {
        return Ok(());
    }
    let metrics: u64 = dst.get(Field::DstMetrics)?;
    // The two lowest bits are flags: DST_METRICS_READ_ONLY and DST_METRICS_REFCOUNTED
    // (include/net/dst.h).
    let metrics = dst.env.object_at(metrics & !3);
    if !metrics.is_null() {
        into.route_window = metrics.at(METRIC_WINDOW * 4)?;
    }
    Ok(())
}
