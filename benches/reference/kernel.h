// SPDX-License-Identifier: MIT OR Apache-2.0
// What the programs know of the kernel's types: the fields that they read. Offsets come from the
// running kernel's BTF (CO-RE). As of 5.10 to 6.12.
#pragma once

#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#define AF_INET6 10
#define IPPROTO_TCP 6
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define TCP_SYNACK_COOKIE 2
#define SOCK_RCVBUF_LOCK 2
// RTAX_WINDOW - 1
#define METRIC_WINDOW 2

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct in6_addr {
	__u8 in6_u[16];
};

struct netns_ipv4 {
	int sysctl_tcp_rmem[3];
	__u8 sysctl_tcp_window_scaling;
	__u8 sysctl_tcp_timestamps;
	int sysctl_tcp_adv_win_scale;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct sock *skc_listener;
	__u32 skc_window_clamp;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct inode {
	unsigned long i_ino;
};

struct socket {
	int type;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct dst_entry {
	unsigned long _metrics;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	int sk_rcvbuf;
	int sk_rcvlowat;
	__u8 sk_userlocks;
	struct socket *sk_socket;
	struct sock_cgroup_data sk_cgrp_data;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
	atomic_t sk_drops;
	struct dst_entry *sk_dst_cache;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct request_sock_queue {
	atomic_t qlen;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
};

struct tcp_options_received {
	__u16 saw_tstamp : 1, tstamp_ok : 1, dsack : 1, wscale_ok : 1, sack_ok : 3, smc_ok : 1,
		snd_wscale : 4, rcv_wscale : 4;
	__u16 mss_clamp;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	struct tcp_options_received rx_opt;
	__u16 advmss;
	__u32 snd_una;
	__u32 snd_wnd;
	__u32 rcv_wnd;
	__u32 window_clamp;
	__u32 rcv_ssthresh;
	__u32 srtt_us;
	__u8 scaling_ratio;
	__u64 bytes_received;
};

struct request_sock {
	struct sock_common __req_common;
	__u8 num_retrans : 7, syncookie : 1;
};

struct inet_request_sock {
	struct request_sock req;
	__u16 snd_wscale : 4, rcv_wscale : 4, tstamp_ok : 1, sack_ok : 1, wscale_ok : 1;
};

struct tcp_request_sock {
	struct inet_request_sock req;
	__u32 snt_isn;
};

struct sk_buff {
	unsigned char *head;
	__u16 transport_header;
};

#pragma clang attribute pop
