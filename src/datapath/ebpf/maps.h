// SPDX-License-Identifier: Apache-2.0
/*
 * The maps that the programs share with the agent, the counters in them, and the drop codes of
 * src/virtual/drop.ts that the programs themselves give: nothing is dropped uncounted.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "decide.h"
#include "layout.h"
#include "parse.h"

#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))

/* Drop codes of src/virtual/drop.ts that this program itself gives. */
#define DROP_NOT_LOCATED 6u
#define DROP_FLOOD_LIMIT 7u
#define DROP_NO_PORT 8u
#define DROP_MALFORMED 9u
#define DROP_UNKNOWN_SENDER 10u
#define DROP_UNKNOWN_KEY 11u
#define DROP_UPCALL_LOST 12u
#define DROP_NOT_OURS 13u
#define DROP_STALE_INJECTION 14u
#define DROP_UPCALL_BUDGET 33u
#define DROP_ADDRESS_HIDDEN 40u
#define DROP_UPCALL_SHARE 41u

/* Only the names matter here: the agent creates the maps and puts their descriptors in. */
#define MAP(name) \
	struct { int unused; } name SEC(".maps")
MAP(config);
MAP(flows);
MAP(actions);
MAP(stats);
MAP(masks);
MAP(hints);
MAP(groups);
MAP(members);
MAP(peers);
MAP(keys);
MAP(senders);
MAP(entry_refs);
MAP(entries);
MAP(upcalls);
MAP(counters);
MAP(tails);
MAP(work);
MAP(sights);
MAP(sightings);
MAP(connections);

INLINE struct config *configuration(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

INLINE void count(__u32 slot)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &slot);

	if (counter)
		*counter += 1;
}

INLINE int drop(__u32 code)
{
	decide(DECIDE_DROP, code, 0, 0);
	count(COUNTER_DROP + (code & (DROP_CODES_MAX - 1)));
	return TC_ACT_SHOT;
}
