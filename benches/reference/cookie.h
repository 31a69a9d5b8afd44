// SPDX-License-Identifier: MIT OR Apache-2.0
// Cookies that come back, and packets that a full accept queue turns away.
#pragma once

#include "synack.h"

enum { HASH_NOT_ASKED, HASH_REJECTED, HASH_VALID };

static __always_inline struct cookie_call *cookie_call(void)
{
	__u32 first = 0;

	return bpf_map_lookup_elem(&cookie_calls, &first);
}

static __always_inline void cookie_entered(__u64 sk)
{
	struct cookie_call *call = cookie_call();

	if (!call)
		return;
	call->sk = sk;
	call->hash = HASH_NOT_ASKED;
	call->inside = 1;
}

static __always_inline void hash_returned(int probe, int result)
{
	struct cookie_call *call;

	run(probe);
	call = cookie_call();
	if (call && call->inside)
		call->hash = result ? HASH_VALID : HASH_REJECTED;
}

static __always_inline void mark(const struct flow_key *key, __u32 isn, __u32 flags, __u32 builder)
{
	struct handshake *new = new_handshake(builder);

	if (!new)
		return;
	new->first.isn = isn;
	new->flags = flags;
	bpf_map_update_elem(&handshakes, key, new, BPF_ANY);
}

static __always_inline int cookie_accepted(const struct sock *listener, const struct sock *child,
					   bool foreign)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)child;
	struct dst_entry *dst = NULL;
	struct flow_key key = {};
	struct handshake *known;
	__u32 snd_una;

	if (key_of_socket(child, &key) || !port_wanted(key.local_port))
		return 0;
	TAKE(snd_una, tp, snd_una);
	known = bpf_map_lookup_elem(&handshakes, &key);
	if (!known) {
		if (foreign)
			mark(&key, snd_una - 1, FOREIGN_COOKIE, BUILD_COOKIE_CHECK);
		return 0;
	}
	if (snd_una != known->first.isn + 1)
		return 0;
	bpf_core_read(&dst, sizeof(dst), &child->sk_dst_cache);
	fill_inputs(listener, dst, &known->cookie_inputs);
	bpf_core_read(&known->cookie_window_clamp, sizeof(known->cookie_window_clamp),
		      &tp->window_clamp);
	known->flags |= COOKIE_ACCEPTED;
	return 0;
}

static __always_inline void cookie_returned(int probe, __u64 sk, const struct sock *result)
{
	struct cookie_call *call;
	struct listener_slot *slot;
	const struct sock *listener;
	bool noted, child, foreign = false;
	__u8 state;

	run(probe);
	call = cookie_call();
	if (!call)
		return;
	noted = call->inside;
	call->inside = 0;
	if (!noted || sk != call->sk) {
		count(ENTRY_MISSED);
		return;
	}
	listener = (void *)call->sk;
	child = result && !state_of(result, &state) && state != TCP_LISTEN;
	if (call->hash == HASH_NOT_ASKED && !child)
		return;
	slot = slot_of(listener);
	if (slot) {
		if (call->hash == HASH_VALID)
			add(&slot->cookies_valid);
		else if (call->hash == HASH_REJECTED)
			add(&slot->cookies_rejected);
		if (child)
			add(&slot->cookies_accepted);
		foreign = !slot->cookies_sent;
	}
	if (child)
		cookie_accepted(listener, result, foreign);
}

static __always_inline bool is_full(const struct sock *listener)
{
	__u32 len, limit;

	return !bpf_core_read(&len, sizeof(len), &listener->sk_ack_backlog) &&
	       !bpf_core_read(&limit, sizeof(limit), &listener->sk_max_ack_backlog) && len > limit;
}

// ACK, and neither SYN nor RST.
static __always_inline bool is_ack(const struct sk_buff *skb)
{
	const __u8 *header;
	__u8 flags;

	return !tcp_header(skb, &header) &&
	       !bpf_probe_read_kernel(&flags, sizeof(flags), header + 13) && (flags & 0x16) == 0x10;
}

static __always_inline void overflow(const struct sock *listener)
{
	struct listener_slot *slot = slot_of(listener);

	if (!slot)
		return;
	add(&slot->overflows);
	bpf_core_read(&slot->drops, sizeof(slot->drops), &listener->sk_drops);
}

static __always_inline void arrived(int probe, const struct sock *listener)
{
	run(probe);
	if (is_full(listener))
		overflow(listener);
}

// A request that a BPF program made (6.9).
static __always_inline int mark_bpf_request(const struct request_sock *req)
{
	struct flow_key key = {};
	struct handshake *known;
	__u32 isn;

	if (!BPF_CORE_READ_BITFIELD_PROBED(req, syncookie))
		return 0;
	if (key_of_request(req, &key) || !port_wanted(key.local_port))
		return 0;
	TAKE(isn, (const struct tcp_request_sock *)req, snt_isn);
	known = bpf_map_lookup_elem(&handshakes, &key);
	if (!known || known->first.isn != isn)
		mark(&key, isn, BPF_REQUEST, BUILD_GET_COOKIE_SOCK);
	return 0;
}
