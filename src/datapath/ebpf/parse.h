// SPDX-License-Identifier: Apache-2.0
/*
 * From a frame to its key, and to the size of its packet. The same rules as src/flow/parse.ts, whose
 * numbers are named below, and src/flow/size.ts, for every frame, broken ones included; differential
 * tests compare them.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"

#define INLINE static __always_inline

#define ETH_BYTES 14u
#define TAG_BYTES 4u
#define L3 ETH_BYTES
#define LINEAR_BYTES 54u /* Ethernet and the fixed part of IPv6 */
#define TPID_8021Q 0x8100
#define TYPE_IP 0x0800
#define TYPE_ARP 0x0806
#define TYPE_IP6 0x86dd
#define EXTENSION_HEADERS_MAX 6
#define FRAG_FIRST 1
#define FRAG_LATER 3
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58
/* In units of 8 bytes without the first: the shortest header that a home address fits in. */
#define HOME_ADDRESS_UNITS 2
/* A gso_size that is none: the segments are as their sender made them (linux/skbuff.h, SCTP). */
#define GSO_BY_FRAGS 0xffffu

/* What parsing found besides the key. */
struct frame {
	__u32 length; /* without a tag, which is in the skb's metadata by then */
	__u16 l4;     /* behind the IP header and the extension headers that were passed */
	__u8 ip;      /* 4 or 6: there is a readable IP header at L3 */
};

/*
 * In skb->cb: the transport checksum may cover another IPv6 address than the header's. There it is
 * any number to the verifier; in a register each of its values would be a state of its own to walk
 * the lookup with.
 */
#define CB_HIDES 4

INLINE int is_echo(__u8 icmp, __u8 type)
{
	return icmp == PROTO_ICMP ? type == 8 || type == 0 : type == 128 || type == 129;
}

/* Rule 7. */
INLINE void parse_l4(struct __sk_buff *skb, struct flow_key *key, __u32 at, __u8 icmp, __u32 length)
{
	__u8 head[8];

	if (key->ip_proto == PROTO_TCP || key->ip_proto == PROTO_UDP) {
		if (at + 4 <= length && !bpf_skb_load_bytes(skb, at, head, 4)) {
			__builtin_memcpy(&key->tp_src, head, 2);
			__builtin_memcpy(&key->tp_dst, head + 2, 2);
		}
	} else if (key->ip_proto == icmp) {
		if (at + 8 > length || bpf_skb_load_bytes(skb, at, head, 8))
			return;
		__builtin_memcpy(&key->tp_src, head, 2);
		if (is_echo(icmp, head[0]))
			__builtin_memcpy(&key->tp_dst, head + 4, 2);
	}
}

/* Rule 4. `ip`: 20 readable bytes. */
INLINE void parse_ip4(struct __sk_buff *skb, struct flow_key *key, struct frame *frame, __u8 *ip)
{
	__u32 header = (ip[0] & 15) * 4;
	__u16 offset;

	if (ip[0] >> 4 != 4 || header < 20 || L3 + header > frame->length)
		return;
	frame->ip = 4;
	frame->l4 = L3 + header;
	key->ip_tos = ip[1];
	key->ip_ttl = ip[8];
	key->ip_proto = ip[9];
	__builtin_memcpy(key->ip_src + 12, ip + 12, 4);
	__builtin_memcpy(key->ip_dst + 12, ip + 16, 4);
	__builtin_memcpy(&offset, ip + 6, 2);
	if (offset & bpf_htons(0x1fff)) {
		key->ip_frag = FRAG_LATER;
		return;
	}
	if (offset & bpf_htons(0x2000))
		key->ip_frag = FRAG_FIRST;
	parse_l4(skb, key, L3 + header, PROTO_ICMP, frame->length);
}

/* Rules 5 and 6. `ip`: 40 readable bytes. */
INLINE void parse_ip6(struct __sk_buff *skb, struct flow_key *key, struct frame *frame, __u8 *ip)
{
	__u32 at = L3 + 40, length = frame->length;
	__u8 proto = ip[6], head[8];

	if (ip[0] >> 4 != 6)
		return;
	frame->ip = 6;
	key->ip_tos = ip[0] << 4 | ip[1] >> 4;
	key->ip_ttl = ip[7];
	__builtin_memcpy(key->ip_src, ip + 8, 16);
	__builtin_memcpy(key->ip_dst, ip + 24, 16);
	for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		__u32 bytes;

		if (proto != 0 && proto != 43 && proto != 44 && proto != 60)
			break;
		if (at + 8 > length || bpf_skb_load_bytes(skb, at, head, 8))
			break;
		bytes = proto == 44 ? 8 : (head[1] + 1) * 8;
		if (at + bytes > length)
			break;
		/* As hidesAddress of src/flow/rewrite.ts says. */
		if ((proto == 43 && head[3]) || (proto == 60 && head[1] >= HOME_ADDRESS_UNITS))
			skb->cb[CB_HIDES] = 1;
		if (proto == 44) {
			if (head[2] || head[3] & 0xf8)
				key->ip_frag = FRAG_LATER;
			else if (head[3] & 1)
				key->ip_frag = FRAG_FIRST;
		}
		proto = head[0];
		at += bytes;
		if (key->ip_frag == FRAG_LATER)
			break;
	}
	frame->l4 = at;
	key->ip_proto = proto;
	if (key->ip_frag == FRAG_LATER)
		return;
	if (proto == 0 || proto == 43 || proto == 44 || proto == 60)
		skb->cb[CB_HIDES] = 1;
	parse_l4(skb, key, at, PROTO_ICMP6, length);
}

/* Rule 3. `arp`: 28 readable bytes. */
INLINE void parse_arp(struct flow_key *key, __u8 *arp)
{
	if (arp[0] != 0 || arp[1] != 1 || arp[2] != 8 || arp[3] != 0 || arp[4] != 6 || arp[5] != 4)
		return;
	key->ip_proto = arp[7];
	__builtin_memcpy(key->ip_src + 12, arp + 14, 4);
	__builtin_memcpy(key->ip_dst + 12, arp + 24, 4);
}

/*
 * A tag in the data (frames of the agent) goes where the kernel keeps those of received frames.
 * Negative: the frame is too short for it.
 */
INLINE int lift_tag(struct __sk_buff *skb)
{
	__u32 length = skb->len;
	__u8 tag[4];

	if (length < ETH_BYTES + TAG_BYTES || bpf_skb_load_bytes(skb, 12, tag, 4))
		return -1;
	/* Also fails when a second tag is cut short, with the first one off as wanted. */
	bpf_skb_vlan_pop(skb);
	if (skb->len == length)
		return -1;
	return bpf_skb_vlan_push(skb, bpf_htons(TPID_8021Q), tag[2] << 8 | tag[3]);
}

/* Makes the fixed headers readable, as far as the frame has them. */
INLINE int make_linear(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + LINEAR_BYTES <= end)
		return 0;
	return bpf_skb_pull_data(skb, skb->len < LINEAR_BYTES ? skb->len : LINEAR_BYTES);
}

/* The frame's key without its entry; `key` is all zero before. Negative: no key (rule 1). */
INLINE int parse(struct __sk_buff *skb, struct flow_key *key, struct frame *frame)
{
	__u8 *data, *end;

	frame->ip = 0;
	frame->l4 = 0;
	skb->cb[CB_HIDES] = 0;
	if (skb->len < ETH_BYTES || make_linear(skb))
		return -1;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + ETH_BYTES > end)
		return -1;
	if (!skb->vlan_present && data[12] == TPID_8021Q >> 8 && data[13] == (TPID_8021Q & 0xff)) {
		if (lift_tag(skb) || make_linear(skb))
			return -1;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		if (data + ETH_BYTES > end)
			return -1;
	}
	frame->length = skb->len;
	__builtin_memcpy(key->eth_dst, data, 6);
	__builtin_memcpy(key->eth_src, data + 6, 6);
	__builtin_memcpy(&key->eth_type, data + 12, 2);
	if (skb->vlan_present) {
		if (skb->vlan_proto != bpf_htons(TPID_8021Q)) {
			key->eth_type = skb->vlan_proto; /* rule 2: any other tag hides the rest */
			return 0;
		}
		key->vlan = bpf_htons(0x1000 | (skb->vlan_tci & 0xfff));
	}
	if (key->eth_type == bpf_htons(TYPE_IP)) {
		if (data + L3 + 20 <= end)
			parse_ip4(skb, key, frame, data + L3);
	} else if (key->eth_type == bpf_htons(TYPE_IP6)) {
		if (data + L3 + 40 <= end)
			parse_ip6(skb, key, frame, data + L3);
	} else if (key->eth_type == bpf_htons(TYPE_ARP)) {
		if (data + L3 + 28 <= end)
			parse_arp(key, data + L3);
	}
	return 0;
}

INLINE int is_ip(const struct flow_key *key)
{
	return key->eth_type == bpf_htons(TYPE_IP) || key->eth_type == bpf_htons(TYPE_IP6);
}

/* The bytes of the IP packet, or of the largest segment of a super-packet; 0 for other frames. */
INLINE __u32 packet_size(struct __sk_buff *skb, const struct flow_key *key, const struct frame *frame)
{
	__u32 whole = frame->length - L3, payload = skb->gso_size, size = frame->l4 - L3;
	__u8 offset;

	if (!is_ip(key))
		return 0;
	if (!payload || !frame->ip)
		return whole;
	if (key->ip_frag != FRAG_LATER) {
		if (key->ip_proto == PROTO_UDP)
			size += 8;
		else if (key->ip_proto == PROTO_TCP && !bpf_skb_load_bytes(skb, frame->l4 + 12, &offset, 1))
			size += (offset >> 4) * 4;
	}
	if (payload != GSO_BY_FRAGS)
		size += payload;
	return size < whole ? size : whole;
}
