// SPDX-License-Identifier: MIT OR Apache-2.0
// Reading the kernel's memory: keys, options, what a scale is computed from. Everything is read with
// bpf_core_read, as the libbpf-tools do, and each read is checked, as evidence that could not be read
// must be told from a 0.
#pragma once

#include "kernel.h"
#include "records.h"

// Reads a field, or returns. What `from` is computed from is no part of the field's path.
#define TAKE(into, from, field)                                                \
	do {                                                                   \
		typeof(from) object_ = (from);                                 \
		if (bpf_core_read(&(into), sizeof(into), &object_->field))      \
			return -1;                                             \
	} while (0)

// The connections that are looked at, as `--port` says; the loader may set another one.
const volatile __u16 first_port = 9092;
const volatile __u16 last_port = 9092;

static __always_inline bool port_wanted(__u16 port)
{
	return first_port <= port && port <= last_port;
}

static __always_inline void map_ipv4(__u8 *into, __be32 addr)
{
	into[10] = 0xff;
	into[11] = 0xff;
	__builtin_memcpy(into + 12, &addr, 4);
}

static __always_inline int netns_of(const struct sock_common *sk, __u32 *into)
{
	struct net *net;

	TAKE(net, sk, skc_net.net);
	TAKE(*into, net, ns.inum);
	return 0;
}

static __always_inline int common_key(const struct sock_common *sk, struct flow_key *key)
{
	__be16 remote;
	__u16 family;
	__be32 addr;

	TAKE(remote, sk, skc_dport);
	key->remote_port = bpf_ntohs(remote);
	TAKE(key->bound_ifindex, sk, skc_bound_dev_if);
	if (netns_of(sk, &key->netns))
		return -1;
	TAKE(family, sk, skc_family);
	if (family == AF_INET6) {
		TAKE(key->remote_addr, sk, skc_v6_daddr);
		TAKE(key->local_addr, sk, skc_v6_rcv_saddr);
		return 0;
	}
	TAKE(addr, sk, skc_daddr);
	map_ipv4(key->remote_addr, addr);
	TAKE(addr, sk, skc_rcv_saddr);
	map_ipv4(key->local_addr, addr);
	return 0;
}

static __always_inline int key_of_request(const struct request_sock *req, struct flow_key *key)
{
	TAKE(key->local_port, req, __req_common.skc_num);
	return common_key(&req->__req_common, key);
}

static __always_inline int key_of_socket(const struct sock *sk, struct flow_key *key)
{
	__be16 local;

	TAKE(local, (const struct inet_sock *)sk, inet_sport);
	key->local_port = bpf_ntohs(local);
	return common_key(&sk->__sk_common, key);
}

static __always_inline int state_of(const struct sock *sk, __u8 *state)
{
	TAKE(*state, sk, __sk_common.skc_state);
	return 0;
}

static __always_inline int tcp_header(const struct sk_buff *skb, const __u8 **header)
{
	const __u8 *head;
	__u16 offset;

	TAKE(head, skb, head);
	TAKE(offset, skb, transport_header);
	*header = head + offset;
	return 0;
}

static __always_inline int word_at(const __u8 *header, int offset, __u32 *into)
{
	__be32 word;

	if (bpf_probe_read_kernel(&word, sizeof(word), header + offset))
		return -1;
	*into = bpf_ntohl(word);
	return 0;
}

// Window and options; `into` must be zero.
static __always_inline int copy_options(const __u8 *header, struct tcp_options *into)
{
	__u8 part[4];
	__u32 len;

	if (bpf_probe_read_kernel(part, sizeof(part), header + 12))
		return -1;
	len = ((part[0] >> 4) * 4 - 20) & 63;
	if (len > sizeof(into->bytes))
		len = 0;
	into->window = part[2] << 8 | part[3];
	if (bpf_probe_read_kernel(into->bytes, len, header + 20))
		return -1;
	into->len = len;
	into->present = 1;
	return 0;
}

static __always_inline __u64 cgroup_of(const struct sock *sk)
{
	struct cgroup *cgroup;
	struct kernfs_node *node;
	__u64 id;

	if (bpf_core_read(&cgroup, sizeof(cgroup), &sk->sk_cgrp_data.cgroup))
		return 0;
	if (!cgroup || (__u64)cgroup & 3)
		return 0;
	if (bpf_core_read(&node, sizeof(node), &cgroup->kn) ||
	    bpf_core_read(&id, sizeof(id), &node->id))
		return 0;
	return id;
}

static __always_inline int listener_inputs(const struct sock *sk, struct inputs *into)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	struct socket *socket;

	TAKE(socket, sk, sk_socket);
	TAKE(into->listener, (struct socket_alloc *)socket, vfs_inode.i_ino);
	into->cgroup = cgroup_of(sk);
	TAKE(into->rcvbuf, sk, sk_rcvbuf);
	TAKE(into->rcvlowat, sk, sk_rcvlowat);
	TAKE(into->window_clamp, tp, window_clamp);
	into->userlocks = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks);
	if (bpf_core_field_exists(tp->scaling_ratio))
		TAKE(into->scaling_ratio, tp, scaling_ratio);
	TAKE(into->accept_queue_len, sk, sk_ack_backlog);
	TAKE(into->accept_queue_limit, sk, sk_max_ack_backlog);
	TAKE(into->syn_queue_len, tp, inet_conn.icsk_accept_queue.qlen);
	return 0;
}

static __always_inline int namespace_inputs(const struct sock *sk, struct inputs *into)
{
	struct net *net;

	TAKE(net, sk, __sk_common.skc_net.net);
	TAKE(into->tcp_rmem_max, net, ipv4.sysctl_tcp_rmem[2]);
	TAKE(into->sysctl_window_scaling, net, ipv4.sysctl_tcp_window_scaling);
	TAKE(into->sysctl_timestamps, net, ipv4.sysctl_tcp_timestamps);
	TAKE(into->adv_win_scale, net, ipv4.sysctl_tcp_adv_win_scale);
	return 0;
}

static __always_inline int route_inputs(const struct dst_entry *dst, struct inputs *into)
{
	unsigned long metrics;

	if (!dst)
		return 0;
	TAKE(metrics, dst, _metrics);
	metrics &= ~3UL;
	if (metrics && bpf_probe_read_kernel(&into->route_window, sizeof(into->route_window),
					     (void *)metrics + METRIC_WINDOW * 4))
		return -1;
	return 0;
}

// What the kernel computes a window scale from; `into` must be zero.
static __always_inline void fill_inputs(const struct sock *listener, const struct dst_entry *dst,
					struct inputs *into)
{
	into->present = 1;
	if (!listener_inputs(listener, into) && !namespace_inputs(listener, into) &&
	    !route_inputs(dst, into))
		into->complete = 1;
}

// The socket that a handshake ended in; `into` must be zero.
static __always_inline int read_child(const struct sock *sk, struct child *into)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	struct net *net;

	TAKE(into->snd_una, tp, snd_una);
	TAKE(into->snd_wnd, tp, snd_wnd);
	TAKE(into->rcv_wnd, tp, rcv_wnd);
	TAKE(into->window_clamp, tp, window_clamp);
	TAKE(into->rcv_ssthresh, tp, rcv_ssthresh);
	TAKE(into->srtt_us8, tp, srtt_us);
	TAKE(into->rcvbuf, sk, sk_rcvbuf);
	TAKE(into->mss_clamp, tp, rx_opt.mss_clamp);
	TAKE(into->advmss, tp, advmss);
	into->rcv_wscale = BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.rcv_wscale);
	into->snd_wscale = BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.snd_wscale);
	if (BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.wscale_ok))
		into->flags |= CHILD_WSCALE_OK;
	if (BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.tstamp_ok))
		into->flags |= CHILD_TSTAMP_OK;
	if (BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.sack_ok))
		into->flags |= CHILD_SACK_OK;
	TAKE(net, sk, __sk_common.skc_net.net);
	TAKE(into->sysctl_window_scaling, net, ipv4.sysctl_tcp_window_scaling);
	TAKE(into->sysctl_timestamps, net, ipv4.sysctl_tcp_timestamps);
	return 0;
}
