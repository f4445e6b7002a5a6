// SPDX-License-Identifier: Apache-2.0
/*
 * The tag that a frame leaves with, as src/flow/interpret.ts says. The frame was parsed: the tag that
 * it came with is in the skb's metadata.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "parse.h"

/* In a tag: there is one. */
#define TAGGED 0x10000u

/* The 802.1Q tag of a frame: TAGGED and its TCI, or 0. Other TPIDs are none. */
INLINE __u32 tag_of(struct __sk_buff *skb)
{
	return skb->vlan_present && skb->vlan_proto == bpf_htons(TPID_8021Q) ? TAGGED | skb->vlan_tci : 0;
}

/* The tag to leave with, of a frame that came with `had`: its priority stays. */
INLINE __u32 tag_wanted(__u32 had, __u32 vlan)
{
	if (!vlan)
		return had;
	return vlan & VLAN_POP ? 0 : TAGGED | (had & 0xf000) | (vlan & 0xfff);
}

/*
 * From the tag that the skb has to another. Which one it has must be told: behind a tag that was
 * popped an inner one comes into its place. Negative: no memory, and the frame has no tag.
 */
INLINE int retag(struct __sk_buff *skb, __u32 has, __u32 wanted)
{
	if (has == wanted)
		return 0;
	/* Also fails when a second tag is cut short, with the first one off as wanted. */
	if (has)
		bpf_skb_vlan_pop(skb);
	return wanted ? bpf_skb_vlan_push(skb, bpf_htons(TPID_8021Q), wanted) : 0;
}
