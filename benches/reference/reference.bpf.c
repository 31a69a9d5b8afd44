// SPDX-License-Identifier: MIT OR Apache-2.0
// The agent's capture, written by hand in C with CO-RE, to measure the agent's programs against
// (cargo xtask bench).
//
// It captures the same evidence: at the same hooks, into records of the same bytes (records.h), with the
// same counters for each probe, CPU and listener, and the same four programs at the tracepoint that
// stand in for one another where the kernel skips a run. What it lacks is what does not run in
// `tcpwnd run --port 9092` on a host without netfilter's SYN proxy: the window probe, connections that
// the host opens, the SYN proxy's SYN+ACKs, the other filters (port, one range, is here; the rest is
// constant and compiled away by the verifier in both). By fentry and fexit only, for Linux 6.8 to 6.12
// (the numbers of arguments of __cookie_v4_check and tcp_check_req).
#include "maps.h"
#include "synack.h"
#include "cookie.h"
#include "state.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("fexit/tcp_make_synack")
int make_synack_fexit(__u64 *ctx)
{
	struct call call = {
		.sk = (void *)ctx[0],
		.dst = (void *)ctx[1],
		.req = (void *)ctx[2],
		.kind = ctx[4],
		.syn = (void *)ctx[5],
	};

	built(&call, (void *)ctx[6]);
	return 0;
}

SEC("fentry/cookie_v4_check")
int cookie_v4_check_fentry(__u64 *ctx)
{
	cookie_entered(ctx[0]);
	return 0;
}

SEC("fexit/cookie_v4_check")
int cookie_v4_check_fexit(__u64 *ctx)
{
	cookie_returned(RUN_COOKIE_V4, ctx[0], (void *)ctx[2]);
	return 0;
}

SEC("fentry/cookie_v6_check")
int cookie_v6_check_fentry(__u64 *ctx)
{
	cookie_entered(ctx[0]);
	return 0;
}

SEC("fexit/cookie_v6_check")
int cookie_v6_check_fexit(__u64 *ctx)
{
	cookie_returned(RUN_COOKIE_V6, ctx[0], (void *)ctx[2]);
	return 0;
}

SEC("fexit/__cookie_v4_check")
int cookie_v4_hash_fexit(__u64 *ctx)
{
	hash_returned(RUN_HASH_V4, ctx[2]);
	return 0;
}

SEC("fexit/__cookie_v6_check")
int cookie_v6_hash_fexit(__u64 *ctx)
{
	hash_returned(RUN_HASH_V6, ctx[2]);
	return 0;
}

SEC("fentry/tcp_rcv_state_process")
int rcv_state_process_fentry(__u64 *ctx)
{
	const struct sock *sk = (void *)ctx[0];
	__u8 state;

	if (state_of(sk, &state) || state != TCP_SYN_RECV)
		return 0;
	run(RUN_RCV_STATE);
	note_ack(sk, (void *)ctx[1]);
	return 0;
}

SEC("fentry/tcp_conn_request")
int conn_request_fentry(__u64 *ctx)
{
	arrived(RUN_CONN_REQUEST, (void *)ctx[2]);
	return 0;
}

SEC("fentry/tcp_get_cookie_sock")
int get_cookie_sock_fentry(__u64 *ctx)
{
	arrived(RUN_GET_COOKIE_SOCK, (void *)ctx[0]);
	mark_bpf_request((void *)ctx[2]);
	return 0;
}

SEC("fexit/tcp_check_req")
int check_req_fexit(__u64 *ctx)
{
	run(RUN_CHECK_REQ);
	if (!ctx[5] && is_full((void *)ctx[0]) && is_ack((void *)ctx[1]))
		overflow((void *)ctx[0]);
	return 0;
}

SEC("raw_tracepoint/inet_sock_set_state")
int set_state_first(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 sk = ctx->args[0];
	__u32 old = ctx->args[1], new = ctx->args[2];

	if (note(sk, new) && matters(old, new))
		changed((void *)sk, old, new);
	return 0;
}

static __always_inline int between(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 sk = ctx->args[0];
	__u32 new = ctx->args[2];

	if (!is_noted(sk, new) && note(sk, new))
		stand_in((void *)sk, ctx->args[1], new);
	return 0;
}

SEC("raw_tracepoint/inet_sock_set_state")
int set_state_second(struct bpf_raw_tracepoint_args *ctx)
{
	return between(ctx);
}

SEC("raw_tracepoint/inet_sock_set_state")
int set_state_third(struct bpf_raw_tracepoint_args *ctx)
{
	return between(ctx);
}

SEC("raw_tracepoint/inet_sock_set_state")
int set_state_last(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 sk = ctx->args[0];
	__u32 new = ctx->args[2];

	if (is_noted(sk, new))
		bpf_map_delete_elem(&noted, &sk);
	else
		stand_in((void *)sk, ctx->args[1], new);
	return 0;
}
