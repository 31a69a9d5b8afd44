// SPDX-License-Identifier: MIT OR Apache-2.0
// The maps, of the sizes that the agent has by default, and counting.
#pragma once

#include "read.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 20480);
	__type(key, struct flow_key);
	__type(value, struct handshake);
} handshakes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, struct open_flow);
} open_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} noted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct listener_key);
	__type(value, __u32);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct listener_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct cpu_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct handshake);
} scratch SEC(".maps");

struct cookie_call {
	__u64 sk;
	__u32 inside;
	__u32 hash;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cookie_call);
} cookie_calls SEC(".maps");

static __always_inline void add(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

static __always_inline struct cpu_counters *cpu_counters(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&counters, &cpu);
}

static __always_inline void run(int probe)
{
	struct cpu_counters *slot = cpu_counters();

	if (slot)
		add(&slot->runs[probe]);
}

static __always_inline void count(int counter)
{
	struct cpu_counters *slot = cpu_counters();

	if (slot)
		add(&slot->counts[counter]);
}

static __always_inline struct handshake *new_handshake(__u32 builder)
{
	struct handshake *place = bpf_map_lookup_elem(&scratch, &builder);

	if (place)
		__builtin_memset(place, 0, sizeof(*place));
	return place;
}

static __always_inline int listener_key(const struct sock *sk, struct listener_key *key)
{
	__u16 family;
	__be32 addr;

	if (netns_of(&sk->__sk_common, &key->netns))
		return -1;
	TAKE(key->port, sk, __sk_common.skc_num);
	TAKE(family, sk, __sk_common.skc_family);
	if (family == AF_INET6) {
		TAKE(key->addr, sk, __sk_common.skc_v6_rcv_saddr);
		return 0;
	}
	TAKE(addr, sk, __sk_common.skc_rcv_saddr);
	map_ipv4(key->addr, addr);
	return 0;
}

// Takes a slot for a listener that has none.
static __always_inline __u32 *claim(const struct listener_key *key)
{
	__u32 hash = (key->netns * 0x9e3779b1) ^ key->port, one = 1, index;

	hash = (hash ^ *(__u32 *)(key->addr + 12)) * 0x85ebca6b;
	hash ^= hash >> 15;
	for (int tried = 0; tried < 8; tried++) {
		index = (hash + tried) % 1024;
		if (!bpf_map_update_elem(&claims, &index, &one, BPF_NOEXIST)) {
			bpf_map_update_elem(&listeners, key, &index, BPF_NOEXIST);
			return bpf_map_lookup_elem(&listeners, key);
		}
	}
	return NULL;
}

// The counters of a listener.
static __always_inline struct listener_slot *slot_of(const struct sock *sk)
{
	struct listener_key key = {};
	struct listener_slot *slot;
	__u32 *index;

	if (listener_key(sk, &key) || !key.port || !port_wanted(key.port))
		return NULL;
	index = bpf_map_lookup_elem(&listeners, &key);
	if (!index)
		index = claim(&key);
	if (!index) {
		count(LISTENERS_NOT_COUNTED);
		return NULL;
	}
	slot = bpf_map_lookup_elem(&slots, index);
	if (slot && !slot->key.port)
		slot->key = key;
	return slot;
}
