// SPDX-License-Identifier: MIT OR Apache-2.0
// The way of the talk that the agent goes back to: kprobe and kretprobe on __tcp_select_window, and each
// window that is chosen is streamed to user space with its connection and the scale that is used.
//
// It sees no SYN+ACK, so that it can only say what is used, never what was advertised.
#include "read.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct window {
	__u64 ktime_ns;
	struct flow_key flow;
	__u32 window;
	__u32 rcv_wscale;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} calls SEC(".maps");

SEC("kprobe/__tcp_select_window")
int BPF_KPROBE(select_window_kprobe, __u64 sk)
{
	__u64 task = bpf_get_current_pid_tgid();

	bpf_map_update_elem(&calls, &task, &sk, BPF_ANY);
	return 0;
}

SEC("kretprobe/__tcp_select_window")
int BPF_KRETPROBE(select_window_kretprobe, __u32 chosen)
{
	__u64 task = bpf_get_current_pid_tgid(), *known = bpf_map_lookup_elem(&calls, &task);
	const struct tcp_sock *tp;
	struct window *window;

	if (!known)
		return 0;
	tp = (void *)*known;
	bpf_map_delete_elem(&calls, &task);
	window = bpf_ringbuf_reserve(&events, sizeof(*window), 0);
	if (!window)
		return 0;
	__builtin_memset(window, 0, sizeof(*window));
	window->ktime_ns = bpf_ktime_get_ns();
	key_of_socket((const struct sock *)tp, &window->flow);
	window->window = chosen;
	window->rcv_wscale = BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.rcv_wscale);
	bpf_ringbuf_submit(window, 0);
	return 0;
}
