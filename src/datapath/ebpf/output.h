// SPDX-License-Identifier: Apache-2.0
/*
 * Where a frame leaves: by an interface of this host, or by the tunnel; and from whom it came there.
 *
 * Outer packets say "don't fragment": the agent knows the MTU of each way and lets nothing through
 * that is larger. Their UDP checksum is zero, over IPv6 too (RFC 7348 section 5, RFC 6935): frames
 * have checksums of their own.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "parse.h"
#include "maps.h"

#define TUNNEL_TTL 64
#define MAC_BYTES 6
#define OUTER_FLAGS (BPF_F_ZERO_CSUM_TX | BPF_F_DONT_FRAGMENT)

/* The TOS or traffic class of the packet in a frame; 0 for what is no IP. */
INLINE __u32 inner_tos(struct __sk_buff *skb)
{
	__u32 ip = ETH_BYTES;
	__be16 type = 0;
	__u8 head[2] = {};

	if (bpf_skb_load_bytes(skb, ip - 2, &type, sizeof(type)))
		return 0;
	if (type == bpf_htons(TPID_8021Q)) {
		ip += TAG_BYTES;
		if (bpf_skb_load_bytes(skb, ip - 2, &type, sizeof(type)))
			return 0;
	}
	if (bpf_skb_load_bytes(skb, ip, head, sizeof(head)))
		return 0;
	if (type == bpf_htons(TYPE_IP))
		return head[1];
	return type == bpf_htons(TYPE_IP6) ? (head[0] << 4 | head[1] >> 4) & 0xff : 0;
}

/*
 * Makes the skb ready for an output and answers the device to send it to; 0, which is none, where
 * nobody has the number of the peer any more.
 */
INLINE __u32 aim(struct __sk_buff *skb, struct config *config, __u32 ifindex, __u32 tun_key,
		 __u32 number)
{
	struct bpf_tunnel_key tunnel = {};
	struct peer *peer;
	__u32 family;

	if (ifindex) {
		skb->mark = MARK_SENT;
		return ifindex;
	}
	peer = bpf_map_lookup_elem(&peers, &number);
	family = peer ? READ_ONCE(peer->family) : 0;
	if (!family) {
		drop(DROP_NOT_LOCATED);
		return 0;
	}
	tunnel.tunnel_id = tun_key;
	tunnel.tunnel_ttl = TUNNEL_TTL;
	/* The device takes the DSCP of it, and sees to ECN itself (RFC 3168 section 9.1.1). */
	tunnel.tunnel_tos = config->tunnel_tos & TUNNEL_TOS_COPY ? inner_tos(skb) : config->tunnel_tos;
	skb->mark = 0;
	if (family == PEER_IP6) {
		__builtin_memcpy(tunnel.remote_ipv6, peer->address, sizeof(peer->address));
		bpf_skb_set_tunnel_key(skb, &tunnel, sizeof(tunnel), OUTER_FLAGS | BPF_F_TUNINFO_IPV6);
	} else {
		tunnel.remote_ipv4 = bpf_ntohl(((__be32 *)peer->address)[3]);
		bpf_skb_set_tunnel_key(skb, &tunnel, sizeof(tunnel), OUTER_FLAGS);
	}
	return config->tunnel_ifindex;
}

/*
 * Whether a frame may take the short way to an interface with this MAC. The kernel takes whatever
 * goes there for addressed to that interface, so nothing else may; and it looks at no header again,
 * so the frame must have no tag.
 */
INLINE int is_for(struct __sk_buff *skb, const __u8 *mac)
{
	__u8 dst[MAC_BYTES];

	if (skb->vlan_present || bpf_skb_load_bytes(skb, 0, dst, sizeof(dst)))
		return 0;
	for (int i = 0; i < MAC_BYTES; i++)
		if (dst[i] != READ_ONCE(mac[i]))
			return 0;
	return 1;
}

/*
 * To the other end of a veth pair, in another namespace, without a turn through its queue: from an
 * ingress hook only. The kernel scrubs the frame of everything but its mark.
 */
INLINE int cross(struct __sk_buff *skb, __u32 ifindex)
{
	skb->mark = 0;
	return bpf_redirect_peer(ifindex, 0);
}

/* Where a frame from the tunnel came from, and under which key; 0, or -1 for what is no tunnel's. */
INLINE int tunnel_source(struct __sk_buff *skb, struct sender *sender, __u32 *key)
{
	struct bpf_tunnel_key tunnel = {};
	__be32 *words = (__be32 *)sender->address;

	if (!bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), 0)) {
		words[2] = bpf_htonl(0xffff);
		words[3] = bpf_htonl(tunnel.remote_ipv4);
	} else {
		if (bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), BPF_F_TUNINFO_IPV6))
			return -1;
		__builtin_memcpy(sender->address, tunnel.remote_ipv6, sizeof(sender->address));
	}
	*key = tunnel.tunnel_id;
	return 0;
}

/*
 * The peer that may send so, or 0. An entry of `senders` just removed may be another's already
 * (see lookup.h), so the number is asked whose it is.
 */
INLINE __u32 sending_peer(const struct sender *sender)
{
	__u32 *found = bpf_map_lookup_elem(&senders, sender), number;
	struct peer *peer;

	if (!found)
		return 0;
	number = READ_ONCE(*found);
	peer = bpf_map_lookup_elem(&peers, &number);
	if (!peer)
		return 0;
	for (int i = 0; i < sizeof(peer->address) / 8; i++)
		if (((__u64 *)peer->address)[i] != ((const __u64 *)sender->address)[i])
			return 0;
	return number;
}
