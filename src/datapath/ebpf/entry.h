// SPDX-License-Identifier: Apache-2.0
/*
 * What an entry (a port; of the tunnel, a sending host) has of its own: tokens, masks, its part of
 * the ring, and counters of what was dropped. Looked up only for frames that no hint led to a flow,
 * and for those that are dropped: a frame that a flow carries does not pay for it.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "maps.h"

/* 0: an entry that nobody knows. A record is never taken away, it only changes hands. */
INLINE struct entry *entry_at(__u32 in_port, __u32 source, __u32 *number)
{
	struct entry_key key = { .in_port = in_port, .source = source };
	struct entry_ref *ref = bpf_map_lookup_elem(&entry_refs, &key);

	if (!ref)
		return 0;
	*number = READ_ONCE(ref->number);
	return bpf_map_lookup_elem(&entries, number);
}

INLINE struct entry *entry_of(const struct flow_key *key, __u32 *number)
{
	return entry_at(key->in_port, key->tun_src, number);
}

/* Drops a frame of an entry, counted there too. */
INLINE int drop_at(__u32 in_port, __u32 source, __u32 code)
{
	__u32 number;
	struct entry *entry = entry_at(in_port, source, &number);

	if (entry)
		__sync_fetch_and_add(&entry->drops[code & (DROP_CODES_MAX - 1)], 1);
	return drop(code);
}

INLINE int drop_of(const struct flow_key *key, __u32 code)
{
	return drop_at(key->in_port, key->tun_src, code);
}
