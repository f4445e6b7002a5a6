// SPDX-License-Identifier: Apache-2.0
/*
 * What a program does for the connection that a flow's frames are of: it stamps the half of their
 * direction, and hands up what the agent must look at. The same rules as src/datapath/guards.ts.
 *
 * A record is another's when its slot was given away while a program was about to stamp it: then a
 * connection that begins is taken for a little further than it is, which the next packets mend.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "maps.h"
#include "parse.h"

#define TCP_FLAGS_AT 13

INLINE int is_tcp(const struct flow_key *key, const struct frame *frame)
{
	return frame->ip && key->ip_proto == PROTO_TCP && key->ip_frag != FRAG_LATER;
}

/* 0 where they are cut off. */
INLINE __u8 tcp_flags(struct __sk_buff *skb, const struct frame *frame)
{
	__u8 flags = 0;

	if (frame->l4 + TCP_FLAGS_AT + 1 > frame->length ||
	    bpf_skb_load_bytes(skb, frame->l4 + TCP_FLAGS_AT, &flags, 1))
		return 0;
	return flags;
}

/* isSoundTcp of src/net/packet/tcp-flags.ts. */
INLINE int is_sound(__u8 flags)
{
	__u8 syn_fin = flags & (TCP_FLAG_SYN | TCP_FLAG_FIN);

	if (!(flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)))
		return 0;
	if (flags & TCP_FLAG_RST)
		return !syn_fin;
	return syn_fin != (TCP_FLAG_SYN | TCP_FLAG_FIN);
}

INLINE struct connection *connection_of(const struct action *action)
{
	__u32 slot = action->connection;

	return slot ? bpf_map_lookup_elem(&connections, &slot) : 0;
}

/* The agent decides: no stack sends such flags, or the connection begins anew. */
INLINE int breaks(struct __sk_buff *skb, const struct flow_key *key, const struct frame *frame,
		  const struct action *action)
{
	struct connection *connection;
	__u8 flags;

	if (!is_tcp(key, frame))
		return 0;
	flags = tcp_flags(skb, frame);
	if (action->flags & ACTION_SOUND_TCP && !is_sound(flags))
		return 1;
	if ((flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) != TCP_FLAG_SYN)
		return 0;
	connection = connection_of(action);
	if (!connection)
		return 0;
	return !!((action->flags & ACTION_CONNECTION_RETURN ? READ_ONCE(connection->tcp[1]) :
							      READ_ONCE(connection->tcp[0])) &
		  (TCP_FLAG_FIN | TCP_FLAG_RST));
}

INLINE void stamp_half(__u64 *seen, __u32 *tcp, __u32 flags)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	/* Written only when it changes: other CPUs have the line too. */
	if (*seen != now)
		*seen = now;
	if ((*tcp & flags) != flags)
		*tcp |= flags;
}

INLINE void stamp(struct __sk_buff *skb, const struct flow_key *key, const struct frame *frame,
		  const struct action *action)
{
	struct connection *connection = connection_of(action);
	__u32 flags;

	if (!connection)
		return;
	flags = is_tcp(key, frame) ? tcp_flags(skb, frame) : 0;
	if (action->flags & ACTION_CONNECTION_RETURN)
		stamp_half(&connection->seen[1], &connection->tcp[1], flags);
	else
		stamp_half(&connection->seen[0], &connection->tcp[0], flags);
}
