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
