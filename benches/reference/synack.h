// SPDX-License-Identifier: MIT OR Apache-2.0
// What a SYN+ACK told the peer, and the ACK that answers it.
#pragma once

#include "maps.h"

enum { BUILD_SYNACK, BUILD_SET_STATE, BUILD_GET_COOKIE_SOCK, BUILD_COOKIE_CHECK };

struct call {
	const struct sock *sk;
	const struct dst_entry *dst;
	const struct request_sock *req;
	const struct sk_buff *syn;
	__u32 kind;
};

static __always_inline bool is_cookie(const struct call *call)
{
	const struct request_sock *req = call->req;

	return call->kind == TCP_SYNACK_COOKIE || BPF_CORE_READ_BITFIELD_PROBED(req, syncookie);
}

// For Fast Open the first argument is the child.
static __always_inline int listener_of(const struct call *call, const struct sock **listener)
{
	__u8 state;

	if (state_of(call->sk, &state))
		return -1;
	if (state == TCP_LISTEN)
		*listener = call->sk;
	else
		TAKE(*listener, call->req, __req_common.skc_listener);
	return 0;
}

static __always_inline int note_state(const struct sock *sk, struct listener_slot *slot)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;

	TAKE(slot->accept_queue_len, sk, sk_ack_backlog);
	TAKE(slot->accept_queue_limit, sk, sk_max_ack_backlog);
	TAKE(slot->syn_queue_len, tp, inet_conn.icsk_accept_queue.qlen);
	TAKE(slot->receive_buffer, sk, sk_rcvbuf);
	slot->receive_buffer_locked =
		!!(BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_RCVBUF_LOCK);
	TAKE(slot->drops, sk, sk_drops);
	return 0;
}

static __always_inline void count_listener(const struct call *call)
{
	const struct sock *listener;
	struct listener_slot *slot;

	if (listener_of(call, &listener))
		return;
	slot = slot_of(listener);
	if (!slot)
		return;
	add(&slot->synacks);
	if (is_cookie(call))
		add(&slot->cookies_sent);
	note_state(listener, slot);
}

static __always_inline int describe(const struct call *call, const __u8 *header,
				    struct syn_ack *into)
{
	const struct inet_request_sock *req = (const struct inet_request_sock *)call->req;
	__u8 state;

	into->ktime_ns = bpf_ktime_get_ns();
	if (word_at(header, 4, &into->isn))
		return -1;
	TAKE(into->window_clamp, call->req, __req_common.skc_window_clamp);
	into->rcv_wscale = BPF_CORE_READ_BITFIELD_PROBED(req, rcv_wscale);
	into->snd_wscale = BPF_CORE_READ_BITFIELD_PROBED(req, snd_wscale);
	into->kind = call->kind;
	if (is_cookie(call))
		into->flags |= SYNACK_COOKIE;
	if (state_of(call->sk, &state))
		return -1;
	if (state != TCP_LISTEN)
		into->flags |= SYNACK_FAST_OPEN;
	if (BPF_CORE_READ_BITFIELD_PROBED(req, wscale_ok))
		into->flags |= SYNACK_WSCALE_OK;
	if (BPF_CORE_READ_BITFIELD_PROBED(req, tstamp_ok))
		into->flags |= SYNACK_TSTAMP_OK;
	return copy_options(header, &into->options);
}

static __always_inline void repeat(struct handshake *known, const struct syn_ack *synack)
{
	known->synacks++;
	if (known->first.rcv_wscale != synack->rcv_wscale ||
	    known->first.snd_wscale != synack->snd_wscale ||
	    (known->first.flags ^ synack->flags) & ~SYNACK_PROXIED) {
		known->last = *synack;
		known->flags &= ~PREVIOUS_KEPT;
		known->flags |= SYNACKS_DIFFER;
	}
}

static __always_inline int record(const struct call *call, const struct sk_buff *skb,
				  const struct flow_key *key)
{
	struct handshake *new = new_handshake(BUILD_SYNACK), *known;
	const struct tcp_request_sock *req = (const struct tcp_request_sock *)call->req;
	const struct sock *listener;
	const __u8 *header, *syn;
	__u32 sent, noted;

	if (!new)
		return 0;
	if (tcp_header(skb, &header))
		return -1;
	if (!word_at(header, 4, &sent) &&
	    !bpf_core_read(&noted, sizeof(noted), &req->snt_isn) &&
	    sent != noted) {
		count(ENTRY_MISSED);
		return -1;
	}
	count_listener(call);
	if (describe(call, header, &new->first))
		return -1;
	known = bpf_map_lookup_elem(&handshakes, key);
	if (known && !(known->flags & SIMULTANEOUS)) {
		if (known->first.isn == new->first.isn) {
			repeat(known, &new->first);
			return 0;
		}
		new->last = known->first;
		new->flags = PREVIOUS_KEPT;
	}
	if (listener_of(call, &listener))
		return -1;
	fill_inputs(listener, call->dst, &new->inputs);
	if (call->syn) {
		if (tcp_header(call->syn, &syn) || copy_options(syn, &new->syn) ||
		    word_at(syn, 8, &new->syn_ack))
			return -1;
		if (new->syn_ack)
			new->first.flags |= SYNACK_PROXIED;
	}
	new->synacks = 1;
	if (bpf_map_update_elem(&handshakes, key, new, BPF_ANY))
		count(SYNACK_NOT_STORED);
	return 0;
}

static __always_inline void built(const struct call *call, const struct sk_buff *skb)
{
	struct flow_key key = {};

	run(RUN_MAKE_SYNACK);
	if (!skb)
		return;
	if (key_of_request(call->req, &key)) {
		count(SYNACK_UNREADABLE);
		return;
	}
	if (!port_wanted(key.local_port))
		return;
	if (record(call, skb, &key)) {
		bpf_map_delete_elem(&handshakes, &key);
		count(SYNACK_UNREADABLE);
	}
}

// What the packet carried that answers a SYN+ACK.
static __always_inline int note_ack(const struct sock *sk, const struct sk_buff *skb)
{
	struct flow_key key = {};
	struct handshake *known;
	const __u8 *header;
	__u32 snd_una;

	if (key_of_socket(sk, &key) || !port_wanted(key.local_port))
		return 0;
	known = bpf_map_lookup_elem(&handshakes, &key);
	if (!known)
		return 0;
	TAKE(snd_una, (const struct tcp_sock *)sk, snd_una);
	if (tcp_header(skb, &header))
		return -1;
	__builtin_memset(&known->ack, 0, sizeof(known->ack));
	known->ack.snd_una = snd_una;
	return copy_options(header, &known->ack.options);
}
