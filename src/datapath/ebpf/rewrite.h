// SPDX-License-Identifier: Apache-2.0
/*
 * What a flow changes of a frame, as src/flow/interpret.ts says; the tag is in tag.h.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "parse.h"

INLINE void subtract_ttl(struct __sk_buff *skb, struct flow_key *key, struct frame *frame, __u16 by)
{
	__u8 ttl = key->ip_ttl - by;

	if (frame->ip == 4) {
		__u16 before = bpf_htons(key->ip_ttl << 8 | key->ip_proto);
		__u16 after = bpf_htons(ttl << 8 | key->ip_proto);

		bpf_l3_csum_replace(skb, L3 + 10, before, after, 2);
		bpf_skb_store_bytes(skb, L3 + 8, &ttl, 1, 0);
	} else if (frame->ip == 6) {
		bpf_skb_store_bytes(skb, L3 + 7, &ttl, 1, BPF_F_RECOMPUTE_CSUM);
	}
}
