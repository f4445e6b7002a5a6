// SPDX-License-Identifier: Apache-2.0
/*
 * What the programs decide, for the differential test: with DECISIONS they write it to a ring buffer
 * of the test's, without it (the object that is committed) nothing of this is there.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "parse.h"

/* A frame enters: which program, and the low bytes of its source MAC, by which the test knows it. */
#define DECIDE_ENTER 1u
/* A slot serves it. */
#define DECIDE_HIT 2u
/* Handed up, for this reason. */
#define DECIDE_UP 3u
/* Dropped, with this code. */
#define DECIDE_DROP 4u
/* A copy leaves by this interface; by the tunnel: with this key, to there. */
#define DECIDE_OUT 5u

#define ENTER_PORT 1u
#define ENTER_TUNNEL 2u
#define ENTER_INJECT 3u
#define ENTER_OUT 4u

#ifdef DECISIONS
struct {
	int unused;
} decisions SEC(".maps");

struct decision {
	__u32 what; /* above it the number of the CPU */
	__u32 a, b, c;
};

INLINE void decide(__u32 what, __u32 a, __u32 b, __u32 c)
{
	struct decision *d = bpf_ringbuf_reserve(&decisions, sizeof(*d), 0);

	if (!d)
		return;
	d->what = what | bpf_get_smp_processor_id() << 8;
	d->a = a;
	d->b = b;
	d->c = c;
	bpf_ringbuf_submit(d, BPF_RB_NO_WAKEUP);
}

INLINE void decide_enter(struct __sk_buff *skb, __u32 program)
{
	__be32 id = 0;

	bpf_skb_load_bytes(skb, 8, &id, 4);
	decide(DECIDE_ENTER, program, id, skb->gso_size);
}
#else
INLINE void decide(__u32 what, __u32 a, __u32 b, __u32 c)
{
}
INLINE void decide_enter(struct __sk_buff *skb, __u32 program)
{
}
#endif
