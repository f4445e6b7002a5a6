// SPDX-License-Identifier: Apache-2.0
/*
 * Handing frames up to the agent. What is handed up was paid for by its entry before, by the rule
 * of src/datapath/budget.ts, and has its part of the ring only: no port takes it from the others.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "entry.h"
#include "maps.h"
#include "parse.h"

#define TYPE_ICMP6_ND_FIRST 133
#define TYPE_ICMP6_ND_LAST 137
#define PROTO_ICMP6 58

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
	record->key = *key;
	if (captured < ETH_BYTES || captured > room)
		return -1;
	return bpf_skb_load_bytes(skb, 0, record + 1, captured);
}

/* Counts the drop, and answers its code. */
INLINE __u32 refuse(const struct flow_key *key, __u32 code)
{
	drop_of(key, code);
	return code;
}

/* The agent may drain a record at once: what it took is said before. */
#define TRY(room)                                                                \
	do {                                                                     \
		struct record *r = bpf_ringbuf_reserve(&upcalls, sizeof(*r) + (room), 0); \
		if (!r)                                                          \
			return refuse(key, DROP_UPCALL_LOST);                    \
		if (fill(skb, r, key, reason, (room))) {                         \
			bpf_ringbuf_discard(r, 0);                               \
			return refuse(key, DROP_UPCALL_LOST);                    \
		}                                                                \
		r->head.entry = number;                                          \
		__sync_fetch_and_add(&entry->queued, (__u32)sizeof(*r) + (room)); \
		bpf_ringbuf_submit(r, 0);                                        \
	} while (0)

/* Which of its entry's buckets a frame is paid from: as src/datapath/budget.ts says. */
INLINE __u32 class_of(const struct flow_key *key, __u32 reason)
{
	__u8 type = bpf_ntohs(key->tp_src) >> 8;

	if (reason == UPCALL_STALE)
		return CLASS_STALE;
	/* A SYN that opens a connection anew is one of a new connection, whatever flow it matches. */
	if (reason != UPCALL_MISS && reason != UPCALL_CONNECTION)
		return CLASS_GUARDS;
	if (key->eth_type == bpf_htons(TYPE_ARP))
		return CLASS_CONTROL;
	if (key->eth_type == bpf_htons(TYPE_IP6) && key->ip_proto == PROTO_ICMP6 &&
	    type >= TYPE_ICMP6_ND_FIRST && type <= TYPE_ICMP6_ND_LAST)
		return CLASS_CONTROL;
	return key->eth_dst[0] & 1 ? CLASS_GROUPS : CLASS_FRAMES;
}

/*
 * Takes the tokens for handing a frame up from its entry's bucket; the rule of src/datapath/budget.ts.
 *
 * A bucket is the time at which it is full again: taking tokens moves it on, and it must not be
 * further away than an empty one would be. No lock (that takes BTF): a swap that fails means that
 * another CPU took tokens. So no more is ever given than there is; what can go wrong is that a frame
 * is refused though there are tokens, when PAY_TRIES others of its entry were served in between. An
 * entry just removed may be another's already (see above): that one lacks a token then.
 */
INLINE int pays(struct config *config, struct entry *entry, const struct flow_key *key, __u32 class,
		__u32 length)
{
	__u64 cost = config->token_ns[class], full = config->full_ns[class], now;
	__u64 *bucket = &entry->buckets[class];

	if (key->tun_src)
		cost /= BUDGET_SOURCE_FACTOR;
	if (length > UPCALL_MIDDLE_BYTES)
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

/* Which of the three sizes a frame takes; 0: none is enough. */
INLINE __u32 room_for(__u32 length)
{
	if (length <= UPCALL_SMALL_BYTES)
		return UPCALL_SMALL_BYTES;
	if (length <= UPCALL_MIDDLE_BYTES)
		return UPCALL_MIDDLE_BYTES;
	return length <= UPCALL_LARGE_BYTES ? UPCALL_LARGE_BYTES : 0;
}

/*
 * Whether the entry may have so much more of the ring: half of what is free at most. So however many
 * are noisy, there is room for a quiet one, and a noisy one alone gets no more than a third. What is
 * not of a new flow may have three quarters: the neighbours of a port whose storm has its part are
 * still resolved. What it has may seem to be less than nothing where an entry changed hands with
 * records on their way.
 */
INLINE int has_room(struct config *config, struct entry *entry, __u32 class, __u32 room)
{
	__u64 used = bpf_ringbuf_query(&upcalls, BPF_RB_AVAIL_DATA);
	__s32 own = READ_ONCE(entry->queued) - READ_ONCE(entry->drained);
	__u64 quarter = (config->ring_bytes > used ? config->ring_bytes - used : 0) / 4;
	int urgent = class != CLASS_FRAMES && class != CLASS_GROUPS;

	return (own > 0 ? own : 0) + sizeof(struct record) + room <=
	       quarter * (urgent ? RING_QUARTERS_URGENT : RING_QUARTERS);
}

/* Hands the frame to the agent; 0, or the code of the drop where that was not to be. */
INLINE __u32 hand_up(struct __sk_buff *skb, struct config *config, struct flow_key *key, __u32 reason)
{
	__u32 number, class = class_of(key, reason) & (UPCALL_CLASSES_MAX - 1);
	struct entry *entry = entry_of(key, &number);
	__u32 room = room_for(skb->len);

	if (!entry || !pays(config, entry, key, class, skb->len + (skb->vlan_present ? TAG_BYTES : 0)))
		return refuse(key, DROP_UPCALL_BUDGET);
	if (!room)
		return refuse(key, DROP_UPCALL_LOST);
	if (!has_room(config, entry, class, room))
		return refuse(key, DROP_UPCALL_SHARE);
	if (room == UPCALL_SMALL_BYTES)
		TRY(UPCALL_SMALL_BYTES);
	else if (room == UPCALL_MIDDLE_BYTES)
		TRY(UPCALL_MIDDLE_BYTES);
	else
		TRY(UPCALL_LARGE_BYTES);
	__sync_fetch_and_add(&entry->up[class], 1);
	count(COUNTER_MISS);
	return 0;
}
