// SPDX-License-Identifier: Apache-2.0
/*
 * From a key to the action of its flow.
 *
 * An action is copied and its generation is looked at before and after: a slot given to another flow
 * in between is never executed half. It also names the entry of its flow: the kernel may give a
 * deleted element of a hash to another key while a program reads it, and no frame may take the way
 * of a frame from elsewhere.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "connection.h"
#include "layout.h"
#include "entry.h"
#include "maps.h"
#include "parse.h"

struct mask_hint {
	__u32 hash;
	__u32 mask;
};
/* Copies a slot's action. False when the slot is not (or no longer) of this generation. */
INLINE int copy_action(__u32 slot, struct action *copy, __u32 generation, __u32 bits)
{
	struct action *live = bpf_map_lookup_elem(&actions, &slot);

	if (!live || (READ_ONCE(live->generation) ^ generation) & bits)
		return 0;
	for (int i = 0; i < sizeof(*copy) / 8; i++)
		((__u64 *)copy)[i] = READ_ONCE(((__u64 *)live)[i]);
	return !((READ_ONCE(live->generation) ^ generation) & bits);
}

INLINE void account(struct __sk_buff *skb, __u32 slot)
{
	struct flow_stats *stat = bpf_map_lookup_elem(&stats, &slot);
	__u32 segments = skb->gso_segs, size = skb->gso_size;
	__u64 now;

	if (!stat)
		return;
	/* What a tap or the agent sent has a segment size but no count yet. */
	if (!segments)
		segments = size ? (skb->len + size - 1) / size : 1;
	__sync_fetch_and_add(&stat->packets, segments);
	__sync_fetch_and_add(&stat->bytes, skb->len + (skb->vlan_present ? TAG_BYTES : 0));
	now = bpf_ktime_get_coarse_ns();
	if (stat->last_used != now)
		stat->last_used = now;
}

/*
 * The hash of src/flow/hash.ts, and why it is this one: who does not know the secret cannot choose
 * frames that evict each other's hints.
 */
INLINE __u32 hash_key(const struct flow_key *key, const __u64 *secret)
{
	const __u64 *words = (const void *)key;
	__u64 sum = 0;

	for (int i = 0; i < sizeof(*key) / 8; i++) {
		__u64 word = words[i], own = secret[i];

		sum += (__u64)((__u32)word + (__u32)own) *
		       ((__u32)(word >> 32) + (__u32)(own >> 32));
	}
	return sum * (secret[HASH_SECRET_WORDS - 1] | 1) >> 32;
}

/* Looks for the key under one mask. */
INLINE struct flow_value *find(const struct flow_key *key, __u32 at)
{
	struct flow_key *mask = bpf_map_lookup_elem(&masks, &at);
	struct flow_key masked;

	if (!mask || !mask->mask_id)
		return 0;
	for (int i = 0; i < sizeof(masked) / 8; i++)
		((__u64 *)&masked)[i] = ((const __u64 *)key)[i] & ((__u64 *)mask)[i];
	masked.mask_id = mask->mask_id;
	return bpf_map_lookup_elem(&flows, &masked);
}

/*
 * Flows are disjoint, so whichever mask finds one finds the only one; a wrong hint merely misses.
 * Then only the masks of the frame's own entry are tried: what others make of theirs costs it
 * nothing.
 */
INLINE struct flow_value *lookup(struct config *config, const struct flow_key *key)
{
	__u32 hash = hash_key(key, config->secret), at = hash >> (32 - MASK_CACHE_BITS);
	struct mask_hint *hint = bpf_map_lookup_elem(&hints, &at);
	struct flow_value *flow = 0;
	struct entry *entry;
	__u64 masks;

	if (!hint)
		return 0;
	if (hint->hash == hash)
		flow = find(key, hint->mask);
	if (flow)
		return flow;
	entry = entry_of(key, &at);
	if (!entry)
		return 0;
	masks = READ_ONCE(entry->masks);
	for (int i = 0; i < ENTRY_MASKS_MAX; i++) {
		__u32 mask = masks & 0xff;

		masks >>= 8;
		if (!mask)
			continue;
		flow = find(key, mask - 1);
		if (flow) {
			hint->hash = hash;
			hint->mask = mask - 1;
			break;
		}
	}
	return flow;
}

/*
 * IPv4 or IPv6 of whose TTL not so much can be subtracted (also a header too broken to have one).
 */
INLINE int expires(const struct flow_key *key, const struct action *action)
{
	return action->dec_ttl && is_ip(key) && key->ip_ttl <= action->dec_ttl;
}

/* Finds what to do with the frame; 0, or why the agent is to say that. */
INLINE __u32 consult(struct __sk_buff *skb, struct config *config, struct flow_key *key,
		     struct frame *frame, __u32 *slot, struct action *action)
{
	struct flow_value *flow = lookup(config, key);

	if (!flow)
		return UPCALL_MISS;
	*slot = READ_ONCE(flow->slot);
	if (!copy_action(*slot, action, READ_ONCE(flow->generation), ~0u) || action->flags & ACTION_STALE)
		return UPCALL_STALE;
	if (action->in_port != key->in_port || action->in_key != key->tun_key)
		return UPCALL_STALE;
	if (expires(key, action))
		return UPCALL_TTL;
	if (action->mtu && packet_size(skb, key, frame) > action->mtu)
		return UPCALL_TOO_BIG;
	if ((action->connection || action->flags & ACTION_SOUND_TCP) && breaks(skb, key, frame, action))
		return UPCALL_CONNECTION;
	return 0;
}
