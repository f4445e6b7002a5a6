// SPDX-License-Identifier: Apache-2.0
/*
 * Showing frames to whoever looks: where they were seen, what became of them, and their first bytes.
 *
 * Invariants: while nobody looks this costs one branch on a word of the configuration; what is looked
 * at goes the way it would have gone; what one who looks may take is bounded by tokens and by a ring
 * of its own; and it ends by itself in kernel time, whoever asked for it and whether that one lives.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "maps.h"
#include "parse.h"

/*
 * In skb->cb while nothing else is there: which sights a frame is shown to, and how much of it. In
 * registers each set of them would be a state of its own to the verifier.
 */
#define CB_SIGHTS 1
#define CB_SNAP 2

struct shown {
	struct sighting head;
	struct flow_key key;
};

/* What became of a frame where it was seen. */
struct fate {
	__u32 where, fate, code;
	__u32 slot, generation;
	__u32 outputs, ifindex, tun_key, peer;
};

INLINE int looked_at(struct config *config)
{
	return __builtin_expect(READ_ONCE(config->sight_until) != 0, 0);
}

/* What is left of `key` under `mask`, less `want`: 0 when they are the same. */
INLINE __u64 difference(const struct flow_key *key, const __u8 *want, const __u8 *mask)
{
	__u64 found = 0;

	for (int i = 0; i < sizeof(*key) / 8; i++)
		found |= (((const __u64 *)key)[i] & READ_ONCE(((const __u64 *)mask)[i])) ^
			 READ_ONCE(((const __u64 *)want)[i]);
	return found;
}

INLINE int is_wanted(struct sight *sight, const struct flow_key *key, const struct fate *fate, __u64 now)
{
	__u32 port = READ_ONCE(sight->port), at = 0;

	if (READ_ONCE(sight->until) <= now)
		return 0;
	if (fate->where == WHERE_PORT)
		at = key->in_port;
	else if (fate->where == WHERE_OUT)
		at = fate->ifindex;
	if (port && port != at)
		return 0;
	return !difference(key, sight->key_a, sight->mask_a) ||
	       !difference(key, sight->key_b, sight->mask_b);
}

/* One token; refused, too, when another CPU took one at the same moment. */
INLINE int affords(struct sight *sight, __u64 now)
{
	__u64 before = READ_ONCE(sight->bucket), after = before > now ? before : now;

	after += sight->token_ns;
	return after <= now + sight->full_ns &&
	       __sync_val_compare_and_swap(&sight->bucket, before, after) == before;
}

/* Notes in skb->cb who sees the frame. */
INLINE void find_sights(struct __sk_buff *skb, const struct flow_key *key, const struct fate *fate,
			__u64 now)
{
	skb->cb[CB_SIGHTS] = 0;
	skb->cb[CB_SNAP] = 0;
#pragma nounroll
	for (__u32 i = 0; i < SIGHTS_MAX; i++) {
		__u32 at = i;
		struct sight *sight = bpf_map_lookup_elem(&sights, &at);

		if (!sight || !is_wanted(sight, key, fate, now))
			continue;
		__sync_fetch_and_add(&sight->matched, 1);
		if (!affords(sight, now))
			continue;
		skb->cb[CB_SIGHTS] |= 1u << i;
		if (skb->cb[CB_SNAP] < sight->snap)
			skb->cb[CB_SNAP] = sight->snap;
	}
}

INLINE int depict(struct __sk_buff *skb, struct shown *shown, const struct flow_key *key,
		  const struct fate *fate, __u64 now, __u32 captured, __u32 room)
{
	shown->head.time = now;
	shown->head.sights = skb->cb[CB_SIGHTS];
	shown->head.where = fate->where;
	shown->head.fate = fate->fate;
	shown->head.code = fate->code;
	shown->head.slot = fate->slot;
	shown->head.generation = fate->generation;
	shown->head.outputs = fate->outputs;
	shown->head.ifindex = fate->ifindex;
	shown->head.tun_key = fate->tun_key;
	shown->head.peer = fate->peer;
	shown->head.len = skb->len;
	shown->head.caplen = captured;
	shown->head.gso_size = skb->gso_size;
	shown->head.vlan_tci = skb->vlan_tci;
	shown->head.vlan_present = skb->vlan_present ? bpf_ntohs(skb->vlan_proto) : 0;
	shown->key = *key;
	/*
	 * For the verifier, which wants each bound of the very register that is passed on. The compiler
	 * would leave out what it knows from the caller, and make one comparison of two; and Linux 6.1
	 * takes no lower bound from "not 0".
	 */
	asm volatile("" : "+r"(captured));
	if (captured < ETH_BYTES)
		return -1;
	asm volatile("" : "+r"(captured));
	if (captured > room)
		return -1;
	return bpf_skb_load_bytes(skb, 0, shown + 1, captured);
}

/* What finds no room is not shown: the reader sees by `matched` how many were not. */
#define SHOW(room)                                                                     \
	do {                                                                           \
		struct shown *s = bpf_ringbuf_reserve(&sightings, sizeof(*s) + (room), 0); \
		if (!s)                                                                \
			return;                                                        \
		if (depict(skb, s, key, fate, now, captured, (room)))                  \
			bpf_ringbuf_discard(s, 0);                                     \
		else                                                                   \
			bpf_ringbuf_submit(s, 0);                                      \
	} while (0)

/* Only where `looked_at`, and where nothing else is in skb->cb. */
INLINE void show(struct __sk_buff *skb, struct config *config, const struct flow_key *key,
		 const struct fate *fate)
{
	__u64 now = bpf_ktime_get_ns(), until = READ_ONCE(config->sight_until);
	__u32 captured;

	if (until <= now) {
		/* Unless somebody has just begun to look. */
		__sync_val_compare_and_swap(&config->sight_until, until, 0);
		return;
	}
	find_sights(skb, key, fate, now);
	if (!skb->cb[CB_SIGHTS])
		return;
	captured = skb->len;
	if (captured > skb->cb[CB_SNAP])
		captured = skb->cb[CB_SNAP];
	if (captured <= SIGHT_SMALL_BYTES)
		SHOW(SIGHT_SMALL_BYTES);
	else if (captured <= SIGHT_MIDDLE_BYTES)
		SHOW(SIGHT_MIDDLE_BYTES);
	else
		SHOW(SIGHT_LARGE_BYTES);
}

/* A frame that leaves by a port, as it leaves. */
INLINE void show_leaving(struct __sk_buff *skb, struct config *config, __u32 ifindex, __u32 code)
{
	struct fate fate = { .where = WHERE_OUT, .ifindex = ifindex, .slot = NO_SLOT };
	struct flow_key key = {};
	struct frame frame;

	fate.fate = code ? FATE_DROPPED : FATE_SENT;
	fate.code = code;
	fate.outputs = !code;
	/* What has no key is shown to who looks at all frames of the port. */
	parse(skb, &key, &frame);
	show(skb, config, &key, &fate);
}
