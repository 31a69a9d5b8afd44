// SPDX-License-Identifier: MIT OR Apache-2.0
// Connections that leave SYN_RECV, and damaged ones that close.
#pragma once

#include "synack.h"

#define ROLE_SERVER 1

static __always_inline bool note(__u64 sk, __u32 new)
{
	return !bpf_map_update_elem(&noted, &sk, &new, BPF_ANY);
}

static __always_inline bool is_noted(__u64 sk, __u32 new)
{
	__u32 *state = bpf_map_lookup_elem(&noted, &sk);

	return state && *state == new;
}

static __always_inline bool matters(__u32 old, __u32 new)
{
	return old == TCP_SYN_RECV || new == TCP_CLOSE ||
	       (old == TCP_SYN_SENT && new == TCP_SYN_RECV);
}

static __always_inline bool answers_previous(const struct handshake_record *record)
{
	return record->handshake.flags & PREVIOUS_KEPT &&
	       record->child.snd_una == record->handshake.last.isn + 1;
}

static __always_inline bool paired(const struct handshake_record *record)
{
	__u32 first = record->handshake.first.isn + 1;

	return record->child.snd_una == first || record->handshake.ack.snd_una == first ||
	       answers_previous(record);
}

// Anything but the same scaling as in the SYN+ACK.
static __always_inline bool suspect(const struct handshake_record *record)
{
	const struct syn_ack *synack = answers_previous(record) ? &record->handshake.last
								: &record->handshake.first;
	const struct child *child = &record->child;

	return !(child->flags & CHILD_WSCALE_OK) || record->handshake.flags & SYNACKS_DIFFER ||
	       !!(child->flags & CHILD_WSCALE_OK) != !!(synack->flags & SYNACK_WSCALE_OK) ||
	       child->rcv_wscale != synack->rcv_wscale || child->snd_wscale != synack->snd_wscale;
}

static __always_inline void remember(const struct sock *sk, struct handshake_record *record)
{
	struct open_flow open = {
		.established_ktime_ns = record->header.ktime_ns,
		.flow = record->flow,
		.role = ROLE_SERVER,
	};
	__u64 id = (__u64)sk;

	if (bpf_map_update_elem(&open_flows, &id, &open, BPF_ANY))
		count(OPEN_TABLE_FULL);
	else
		record->child.flags |= CHILD_TRACKED;
}

static __always_inline void send(const struct sock *sk, const struct flow_key *key,
				 const struct handshake *known, __u8 outcome)
{
	__u64 now = bpf_ktime_get_ns();
	struct handshake_record *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record) {
		count(HANDSHAKES_LOST);
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->header.version = ABI_VERSION;
	record->header.kind = KIND_HANDSHAKE;
	record->header.len = sizeof(*record);
	record->header.ktime_ns = now;
	record->flow = *key;
	if (!read_child(sk, &record->child))
		record->child.flags |= CHILD_COMPLETE;
	record->child.outcome = outcome;
	if (!known) {
		count(NO_RECORD);
	} else {
		record->handshake = *known;
		record->record_found = 1;
		if (!paired(record)) {
			count(STALE_RECORD);
		} else if (outcome == 1) {
			bpf_map_delete_elem(&handshakes, key);
			if (record->handshake.flags & MARKS)
				count(NO_RECORD);
			else if (suspect(record))
				remember(sk, record);
		}
	}
	bpf_ringbuf_submit(record, 0);
	count(HANDSHAKES_SENT);
}

static __always_inline void left_syn_recv(const struct sock *sk, const struct flow_key *key,
					  __u32 new)
{
	struct handshake *known;

	if (!port_wanted(key->local_port)) {
		count(FILTERED);
		return;
	}
	known = bpf_map_lookup_elem(&handshakes, key);
	if (known && known->flags & SIMULTANEOUS) {
		bpf_map_delete_elem(&handshakes, key);
		return;
	}
	count(new == TCP_ESTABLISHED ? ESTABLISHED : LEFT_SYN_RECV);
	send(sk, key, known, new == TCP_ESTABLISHED ? 1 : new == TCP_CLOSE ? 2 : 3);
}

static __always_inline void closed(const struct sock *sk)
{
	const struct tcp_sock *tp = (const struct tcp_sock *)sk;
	struct closed_record *record;
	struct open_flow *known, open;
	__u64 id = (__u64)sk;

	known = bpf_map_lookup_elem(&open_flows, &id);
	if (!known)
		return;
	open = *known;
	bpf_map_delete_elem(&open_flows, &id);
	record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);
	if (!record) {
		count(CLOSED_LOST);
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->header.version = ABI_VERSION;
	record->header.kind = KIND_CLOSED;
	record->header.len = sizeof(*record);
	record->header.ktime_ns = bpf_ktime_get_ns();
	record->flow = open.flow;
	record->established_ktime_ns = open.established_ktime_ns;
	record->role = open.role;
	bpf_core_read(&record->srtt_us8, sizeof(record->srtt_us8), &tp->srtt_us);
	bpf_core_read(&record->bytes_received, sizeof(record->bytes_received), &tp->bytes_received);
	bpf_ringbuf_submit(record, 0);
	count(CLOSED_SENT);
}

static __always_inline void simultaneous(const struct flow_key *key)
{
	struct handshake *mark;

	if (!port_wanted(key->local_port))
		return;
	count(SIMULTANEOUS_OPENS);
	mark = new_handshake(BUILD_SET_STATE);
	if (!mark)
		return;
	mark->flags = SIMULTANEOUS;
	bpf_map_update_elem(&handshakes, key, mark, BPF_ANY);
}

static __always_inline void changed(const struct sock *sk, __u32 old, __u32 new)
{
	struct flow_key key = {};
	__u16 port;

	run(RUN_SET_STATE);
	if (new == TCP_CLOSE && old != TCP_SYN_RECV) {
		closed(sk);
		return;
	}
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol) != IPPROTO_TCP)
		return;
	if (key_of_socket(sk, &key)) {
		count(SOCKET_UNREADABLE);
		return;
	}
	if (old != TCP_SYN_RECV) {
		simultaneous(&key);
		return;
	}
	if (new == TCP_CLOSE && !bpf_core_read(&port, sizeof(port), &sk->__sk_common.skc_num) && port) {
		if (port_wanted(key.local_port))
			count(DISCARDED_CHILDREN);
		return;
	}
	left_syn_recv(sk, &key, new);
}

static __always_inline void stand_in(const struct sock *sk, __u32 old, __u32 new)
{
	count(STOOD_IN);
	if (matters(old, new))
		changed(sk, old, new);
}
