// SPDX-License-Identifier: Apache-2.0
/*
 * Where a frame leaves: by an interface of this host, or by the tunnel.
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

/* Makes the skb ready for an output and answers the device to send it to. */
INLINE __u32 aim(struct __sk_buff *skb, struct config *config, __u32 ifindex, __u32 tun_key,
		 __u32 remote)
{
	struct bpf_tunnel_key tunnel = {};

	if (ifindex) {
		skb->mark = MARK_SENT;
		return ifindex;
	}
	tunnel.tunnel_id = tun_key;
	tunnel.remote_ipv4 = remote;
	tunnel.tunnel_ttl = TUNNEL_TTL;
	bpf_skb_set_tunnel_key(skb, &tunnel, sizeof(tunnel), BPF_F_ZERO_CSUM_TX);
	skb->mark = 0;
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
