// SPDX-License-Identifier: MIT OR Apache-2.0
// Programs that do nothing, one for each way to hook a function: what a hook costs before its program
// does anything.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define EMPTY(name, section)  \
	SEC(section)          \
	int name(void *ctx)   \
	{                     \
		return 0;     \
	}

EMPTY(empty_fentry, "fentry/tcp_rcv_state_process")
EMPTY(empty_fexit, "fexit/tcp_rcv_state_process")
EMPTY(empty_kprobe, "kprobe/tcp_rcv_state_process")
EMPTY(empty_kretprobe, "kretprobe/tcp_rcv_state_process")
EMPTY(empty_kprobe_multi, "kprobe.multi/tcp_rcv_state_process")
EMPTY(empty_kretprobe_multi, "kretprobe.multi/tcp_rcv_state_process")
EMPTY(empty_raw_tracepoint, "raw_tracepoint/inet_sock_set_state")
