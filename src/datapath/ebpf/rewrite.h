// SPDX-License-Identifier: Apache-2.0
/*
 * What a flow changes of a frame, as src/flow/interpret.ts and src/flow/rewrite.ts say; the tag is in
 * tag.h.
 *
 * The kernel's helpers know what the checksum field of an skb stands for: a sum, or (a local sender,
 * a super-packet) only that of the pseudo header. What the skb itself holds of a sum over the whole
 * frame (CHECKSUM_COMPLETE) has to be told: a change that a checksum in the frame makes up for leaves
 * it as it is, any other is stored with BPF_F_RECOMPUTE_CSUM.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "parse.h"
#include "maps.h"

#define SET_ADDRESSES (ACTION_SET_IP_SRC | ACTION_SET_IP_DST)
#define SET_PORTS (ACTION_SET_TP_SRC | ACTION_SET_TP_DST)

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

/* Why nothing leaves of a frame that is served: the code of a drop, or 0. */
INLINE __u32 refused(struct __sk_buff *skb, const struct action *action)
{
	__u32 flags = action->flags;

	if (flags & ACTION_DROP)
		return action->drop_code;
	if (flags & ACTION_IP6 && flags & SET_ADDRESSES && skb->cb[CB_HIDES])
		return DROP_ADDRESS_HIDDEN;
	return 0;
}

/*
 * What `rewrite` is called with: a map's one entry of this CPU. What comes from there is any number
 * to the verifier: as the parser left it, each of the parser's ways would be walked through all the
 * rewrites again. Nothing else runs on this CPU between the call and its first copy (a clone).
 */
struct work {
	struct flow_key key;
	struct action action;
	__u32 length;
	__u32 l4;
	__u32 ip;
	__u32 tag; /* the tag that the frame came with */
};

/* More than `execute` itself does. */
INLINE int rewrites_packet(const struct action *action)
{
	return action->tos_mask || action->flags & (SET_ADDRESSES | SET_PORTS);
}

/* The protocol above IP, or NO_UPPER in a later fragment. */
#define NO_UPPER 0x100u
INLINE __u32 upper_of(const struct work *work)
{
	return work->key.ip_frag == FRAG_LATER ? NO_UPPER : work->key.ip_proto;
}

/* Where the transport checksum is; 0 where there is none, or the frame ends before. */
INLINE __u32 checksum_at(const struct work *work, __u32 upper)
{
	__u32 at = work->l4;

	if (upper == PROTO_TCP)
		at += 16;
	else if (upper == PROTO_UDP)
		at += 6;
	else if (upper == (work->ip == 4 ? PROTO_ICMP : PROTO_ICMP6))
		at += 2;
	else
		return 0;
	return at + 2 <= work->length ? at : 0;
}

/* `from` to `to`: four bytes of an address. `sum`: of the transport, or 0. */
INLINE void replace_word(struct __sk_buff *skb, __u32 sum, __u64 flags, const __u8 *from,
			 const __u8 *to)
{
	__u32 before, after;

	__builtin_memcpy(&before, from, 4);
	__builtin_memcpy(&after, to, 4);
	bpf_l4_csum_replace(skb, sum, before, after, flags | BPF_F_PSEUDO_HDR | 4);
}

INLINE void set_address4(struct __sk_buff *skb, __u32 at, __u32 sum, __u64 flags, const __u8 *from,
			 const __u8 *to)
{
	__u32 before, after;

	__builtin_memcpy(&before, from + 12, 4);
	__builtin_memcpy(&after, to + 12, 4);
	bpf_l3_csum_replace(skb, L3 + 10, before, after, 4);
	if (sum)
		replace_word(skb, sum, flags, from + 12, to + 12);
	bpf_skb_store_bytes(skb, at, to + 12, 4, 0);
}

INLINE void set_address6(struct __sk_buff *skb, __u32 at, __u32 sum, __u64 flags, const __u8 *from,
			 const __u8 *to)
{
	if (sum) {
		replace_word(skb, sum, flags, from, to);
		replace_word(skb, sum, flags, from + 4, to + 4);
		replace_word(skb, sum, flags, from + 8, to + 8);
		replace_word(skb, sum, flags, from + 12, to + 12);
	}
	/* The helper above took the sum's own change into account, and only that. */
	bpf_skb_store_bytes(skb, at, to, 16, BPF_F_RECOMPUTE_CSUM);
}

INLINE void set_addresses(struct __sk_buff *skb, const struct work *work, __u32 upper, __u32 sum,
			  __u64 udp)
{
	__u32 flags = work->action.flags;

	if (work->ip == 4 && !(flags & ACTION_IP6)) {
		if (upper == PROTO_ICMP)
			sum = 0;
		if (flags & ACTION_SET_IP_SRC)
			set_address4(skb, L3 + 12, sum, udp, work->key.ip_src, work->action.ip_src);
		if (flags & ACTION_SET_IP_DST)
			set_address4(skb, L3 + 16, sum, udp, work->key.ip_dst, work->action.ip_dst);
	} else if (work->ip == 6 && flags & ACTION_IP6) {
		if (flags & ACTION_SET_IP_SRC)
			set_address6(skb, L3 + 8, sum, udp, work->key.ip_src, work->action.ip_src);
		if (flags & ACTION_SET_IP_DST)
			set_address6(skb, L3 + 24, sum, udp, work->key.ip_dst, work->action.ip_dst);
	}
}

INLINE void set_tos(struct __sk_buff *skb, const struct work *work)
{
	__u8 mask = work->action.tos_mask, before = work->key.ip_tos, head[2];
	__u8 tos = (before & ~mask) | (work->action.tos & mask);

	if (bpf_skb_load_bytes(skb, L3, head, 2))
		return;
	if (work->ip == 4) {
		__u16 from = bpf_htons(head[0] << 8 | before), to = bpf_htons(head[0] << 8 | tos);

		bpf_l3_csum_replace(skb, L3 + 10, from, to, 2);
		bpf_skb_store_bytes(skb, L3 + 1, &tos, 1, 0);
	} else {
		head[0] = (head[0] & 0xf0) | tos >> 4;
		head[1] = (head[1] & 0x0f) | tos << 4;
		bpf_skb_store_bytes(skb, L3, head, 2, BPF_F_RECOMPUTE_CSUM);
	}
}

/* A port or an identifier, `from` to `to`. */
INLINE void set_port(struct __sk_buff *skb, __u32 at, __u32 sum, __u64 flags, __be16 from, __be16 to)
{
	if (sum)
		bpf_l4_csum_replace(skb, sum, from, to, flags | 2);
	bpf_skb_store_bytes(skb, at, &to, 2, sum ? 0 : BPF_F_RECOMPUTE_CSUM);
}

INLINE void set_transport(struct __sk_buff *skb, const struct work *work, __u32 upper, __u32 sum,
			  __u64 udp)
{
	__u32 flags = work->action.flags, at = work->l4;
	__u8 type;

	if (upper == PROTO_TCP || upper == PROTO_UDP) {
		if (at + 4 > work->length)
			return;
		if (flags & ACTION_SET_TP_SRC)
			set_port(skb, at, sum, udp, work->key.tp_src, work->action.tp_src);
		if (flags & ACTION_SET_TP_DST)
			set_port(skb, at + 2, sum, udp, work->key.tp_dst, work->action.tp_dst);
	} else if (upper == (work->ip == 4 ? PROTO_ICMP : PROTO_ICMP6)) {
		if (!(flags & ACTION_SET_TP_DST) || at + 8 > work->length)
			return;
		if (bpf_skb_load_bytes(skb, at, &type, 1) || !is_echo(upper, type))
			return;
		set_port(skb, at + 4, sum, 0, work->key.tp_dst, work->action.tp_dst);
	}
}

/* What `execute` leaves to do. */
INLINE void rewrite_packet(struct __sk_buff *skb, const struct work *work)
{
	__u32 flags = work->action.flags, upper, sum;
	__u64 udp;

	if (!work->ip)
		return;
	upper = upper_of(work);
	if (work->action.tos_mask)
		set_tos(skb, work);
	sum = checksum_at(work, upper);
	udp = upper == PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	if (flags & SET_ADDRESSES)
		set_addresses(skb, work, upper, sum, udp);
	if (flags & SET_PORTS)
		set_transport(skb, work, upper, sum, udp);
}
