// SPDX-License-Identifier: MIT OR Apache-2.0
// The records, field by field those of tcpwnd-common: the same evidence in the same bytes.
#pragma once

#include <linux/types.h>

struct flow_key {
	__u8 local_addr[16];
	__u8 remote_addr[16];
	__u32 netns;
	__u32 bound_ifindex;
	__u16 local_port;
	__u16 remote_port;
};

struct tcp_options {
	__u8 len;
	__u8 present;
	__u16 window;
	__u8 bytes[40];
};

#define SYNACK_COOKIE 1
#define SYNACK_FAST_OPEN 2
#define SYNACK_WSCALE_OK 4
#define SYNACK_TSTAMP_OK 8
#define SYNACK_PROXIED 16

struct syn_ack {
	__u64 ktime_ns;
	__u32 isn;
	__u32 window_clamp;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 flags;
	__u8 kind;
	struct tcp_options options;
};

struct proxy_syn_ack {
	__u64 ktime_ns;
	__u32 isn;
	__u32 synacks;
	struct tcp_options options;
	__u8 wscale;
	__u8 flags;
	__u8 reserved[2];
};

struct inputs {
	__u64 listener;
	__u64 cgroup;
	__u32 rcvbuf;
	__u32 window_clamp;
	__u32 tcp_rmem_max;
	__u32 route_window;
	__u32 accept_queue_len;
	__u32 accept_queue_limit;
	__u32 syn_queue_len;
	__u8 userlocks;
	__u8 scaling_ratio;
	__s8 adv_win_scale;
	__u8 sysctl_window_scaling;
	__u8 sysctl_timestamps;
	__u8 complete;
	__u8 present;
	__u8 reserved;
	__u32 rcvlowat;
};

struct ack {
	__u32 snd_una;
	struct tcp_options options;
};

#define SYNACKS_DIFFER 1
#define COOKIE_ACCEPTED 2
#define SIMULTANEOUS 4
#define PREVIOUS_KEPT 8
#define BPF_REQUEST 16
#define FOREIGN_COOKIE 32
#define MARKS (BPF_REQUEST | FOREIGN_COOKIE)

struct handshake {
	struct syn_ack first;
	struct syn_ack last;
	struct inputs inputs;
	struct inputs cookie_inputs;
	struct tcp_options syn;
	struct ack ack;
	__u32 synacks;
	__u32 flags;
	__u32 cookie_window_clamp;
	__u32 syn_ack;
	__u32 reserved;
};

#define CHILD_WSCALE_OK 1
#define CHILD_TSTAMP_OK 2
#define CHILD_SACK_OK 4
#define CHILD_TRACKED 8
#define CHILD_COMPLETE 32

struct child {
	__u32 snd_una;
	__u32 snd_wnd;
	__u32 rcv_wnd;
	__u32 window_clamp;
	__u32 rcv_ssthresh;
	__u32 srtt_us8;
	__u32 rcvbuf;
	__u16 mss_clamp;
	__u16 advmss;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 flags;
	__u8 outcome;
	__u8 sysctl_window_scaling;
	__u8 sysctl_timestamps;
	__u8 reserved[2];
};

#define ABI_VERSION 5
#define KIND_HANDSHAKE 1
#define KIND_CLOSED 2

struct header {
	__u16 version;
	__u16 kind;
	__u32 len;
	__u64 ktime_ns;
};

struct handshake_record {
	struct header header;
	struct flow_key flow;
	struct child child;
	__u32 record_found;
	struct handshake handshake;
	struct proxy_syn_ack proxy;
};

struct closed_record {
	struct header header;
	struct flow_key flow;
	__u32 srtt_us8;
	__u64 bytes_received;
	__u64 established_ktime_ns;
	__u32 role;
	__u32 reserved;
};

struct open_flow {
	__u64 established_ktime_ns;
	struct flow_key flow;
	__u32 role;
};

struct listener_key {
	__u8 addr[16];
	__u32 netns;
	__u16 port;
	__u16 reserved;
};

struct listener_slot {
	struct listener_key key;
	__u64 synacks;
	__u64 cookies_sent;
	__u64 cookies_valid;
	__u64 cookies_rejected;
	__u64 cookies_accepted;
	__u64 overflows;
	__u32 accept_queue_len;
	__u32 accept_queue_limit;
	__u32 syn_queue_len;
	__u32 receive_buffer;
	__u32 receive_buffer_locked;
	__u32 drops;
};

// Counters of a CPU: runs of each probe, then what is counted, numbered as in tcpwnd-common.
struct cpu_counters {
	__u64 runs[13];
	__u64 counts[27];
};

enum { RUN_MAKE_SYNACK, RUN_COOKIE_V4, RUN_COOKIE_V6, RUN_HASH_V4, RUN_HASH_V6, RUN_RCV_STATE,
       RUN_CONN_REQUEST, RUN_GET_COOKIE_SOCK, RUN_CHECK_REQ, RUN_SET_STATE };
enum { ESTABLISHED = 0, LEFT_SYN_RECV = 1, HANDSHAKES_SENT = 5, HANDSHAKES_LOST = 6, FILTERED = 7,
       NO_RECORD = 8, STALE_RECORD = 9, DISCARDED_CHILDREN = 10, SIMULTANEOUS_OPENS = 11,
       SYNACK_UNREADABLE = 12, SYNACK_NOT_STORED = 13, SOCKET_UNREADABLE = 14, OPEN_TABLE_FULL = 15,
       CLOSED_SENT = 17, CLOSED_LOST = 18, LISTENERS_NOT_COUNTED = 21, ENTRY_MISSED = 22,
       STOOD_IN = 23 };

_Static_assert(sizeof(struct flow_key) == 44, "flow_key");
_Static_assert(sizeof(struct handshake) == 352, "handshake");
_Static_assert(sizeof(struct child) == 40, "child");
_Static_assert(sizeof(struct handshake_record) == 520, "handshake_record");
_Static_assert(sizeof(struct closed_record) == 88, "closed_record");
_Static_assert(sizeof(struct listener_slot) == 96, "listener_slot");
