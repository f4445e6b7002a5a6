// SPDX-License-Identifier: Apache-2.0
/*
 * Handing frames up to the agent. What is handed up was paid for by its entry before, by the rule
 * of src/datapath/budget.ts: no port fills the ring for the others.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "parse.h"
#include "maps.h"

/* Tries to take tokens while other CPUs take some of the same bucket. */
#define PAY_TRIES 8

struct record {
	struct upcall head;
	struct flow_key key;
};

INLINE int fill(struct __sk_buff *skb, struct record *record, struct flow_key *key, __u32 reason,
		__u32 room)
{
	__u32 length = skb->len, captured = length < room ? length : room;

	record->head.time = bpf_ktime_get_ns();
	record->head.len = length;
	record->head.caplen = captured;
	record->head.gso_size = skb->gso_size;
	record->head.reason = reason;
	record->head.vlan_tci = skb->vlan_tci;
	record->head.vlan_present = skb->vlan_present ? bpf_ntohs(skb->vlan_proto) : 0;
	record->head.spare = 0;
	record->key = *key;
	if (captured < ETH_BYTES || captured > room)
		return -1;
	return bpf_skb_load_bytes(skb, 0, record + 1, captured);
}

#define TRY(room)                                                                \
	do {                                                                     \
		struct record *r = bpf_ringbuf_reserve(&upcalls, sizeof(*r) + (room), 0); \
		if (!r)                                                          \
			return drop(DROP_UPCALL_LOST);                           \
		if (fill(skb, r, key, reason, (room))) {                         \
			bpf_ringbuf_discard(r, 0);                               \
			return drop(DROP_UPCALL_LOST);                           \
		}                                                                \
		bpf_ringbuf_submit(r, 0);                                        \
	} while (0)

/*
 * Takes the tokens for handing a frame up from its entry's bucket; the rule of src/datapath/budget.ts.
 *
 * A bucket is the time at which it is full again: taking tokens moves it on, and it must not be
 * further away than an empty one would be. No lock (that takes BTF): a swap that fails means that
 * another CPU took tokens. So no more is ever given than there is; what can go wrong is that a frame
 * is refused though there are tokens, when PAY_TRIES others of its entry were served in between. An
 * entry just removed may be another's already (see above): that one lacks a token then.
 */
INLINE int pays(struct __sk_buff *skb, struct config *config, const struct flow_key *key)
{
	struct budget_key entry = { .in_port = key->in_port, .source = key->tun_src };
	struct budget *budget = bpf_map_lookup_elem(&budgets, &entry);
	__u64 now, cost, full, *bucket;

	if (!budget)
		return 0;
	if (key->eth_dst[0] & 1) {
		bucket = &budget->groups;
		cost = config->group_ns;
		full = config->groups_full_ns;
	} else {
		bucket = &budget->frames;
		cost = config->frame_ns;
		full = config->frames_full_ns;
	}
	if (key->tun_src)
		cost /= BUDGET_SOURCE_FACTOR;
	if (skb->len + (skb->vlan_present ? TAG_BYTES : 0) > UPCALL_MIDDLE_BYTES)
		cost *= UPCALL_LARGE_COST;
	now = bpf_ktime_get_ns();
	for (int i = 0; i < PAY_TRIES; i++) {
		__u64 before = READ_ONCE(*bucket), after = (before > now ? before : now) + cost;

		if (after > now + full)
			return 0;
		if (__sync_val_compare_and_swap(bucket, before, after) == before)
			return 1;
	}
	return 0;
}

/* Hands the frame to the agent. */
INLINE int hand_up(struct __sk_buff *skb, struct config *config, struct flow_key *key, __u32 reason)
{
	if (!pays(skb, config, key))
		return drop(DROP_UPCALL_BUDGET);
	if (skb->len <= UPCALL_SMALL_BYTES)
		TRY(UPCALL_SMALL_BYTES);
	else if (skb->len <= UPCALL_MIDDLE_BYTES)
		TRY(UPCALL_MIDDLE_BYTES);
	else if (skb->len <= UPCALL_LARGE_BYTES)
		TRY(UPCALL_LARGE_BYTES);
	else
		return drop(DROP_UPCALL_LOST);
	count(COUNTER_MISS);
	return TC_ACT_SHOT;
}
