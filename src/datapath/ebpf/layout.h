/* SPDX-License-Identifier: Apache-2.0 */
/* Printed by src/flow/layout.ts; do not edit. */
#pragma once

#define LAYOUT_VERSION 8u

#define MASKS_MAX 32u
#define ENTRY_MASKS_MAX 8u
#define GROUP_MEMBERS_MAX 512u
#define GROUPS_MAX 4096u
#define MEMBERS_MAX 65536u
#define KEYS_MAX 65536u
#define PEERS_MAX 4096u
#define SENDERS_MAX 262144u
#define SCRATCH_SLOTS 1024u
#define REWRITE_SLOTS 4096u
#define MASK_CACHE_BITS 10u
#define DROP_CODES_MAX 64u
#define ENTRIES_MAX 8192u
#define UPCALL_CLASSES_MAX 8u
#define RING_QUARTERS 2u
#define RING_QUARTERS_URGENT 3u
#define UPCALL_SMALL_BYTES 152u
#define UPCALL_MIDDLE_BYTES 1640u
#define UPCALL_LARGE_BYTES 65640u
#define UPCALL_LARGE_COST 38u
#define BUDGET_SOURCE_FACTOR 2u
#define SIGHTS_MAX 8u
#define SIGHT_SMALL_BYTES 160u
#define SIGHT_MIDDLE_BYTES 1640u
#define SIGHT_LARGE_BYTES 9256u

#define ACTION_STALE 1u
#define ACTION_DROP 2u
#define ACTION_SET_ETH_DST 4u
#define ACTION_SET_ETH_SRC 8u
#define ACTION_GROUP 16u
#define ACTION_TUNNEL 32u
#define ACTION_NOT_BACK 64u
#define ACTION_SET_IP_SRC 128u
#define ACTION_SET_IP_DST 256u
#define ACTION_SET_TP_SRC 512u
#define ACTION_SET_TP_DST 1024u
#define ACTION_IP6 2048u
#define ACTION_REDIRECT_PEER 4096u
#define ACTION_CONNECTION_RETURN 8192u
#define ACTION_SOUND_TCP 16384u

#define KEY_REDIRECT_PEER 1u

#define VLAN_SET 4096u
#define VLAN_POP 8192u

#define UPCALL_MISS 1u
#define UPCALL_STALE 2u
#define UPCALL_TTL 3u
#define UPCALL_TOO_BIG 4u
#define UPCALL_CONNECTION 5u

#define TCP_FLAG_FIN 1u
#define TCP_FLAG_SYN 2u
#define TCP_FLAG_RST 4u
#define TCP_FLAG_PSH 8u
#define TCP_FLAG_ACK 16u
#define TCP_FLAG_URG 32u

#define CLASS_FRAMES 0u
#define CLASS_GROUPS 1u
#define CLASS_CONTROL 2u
#define CLASS_GUARDS 3u
#define CLASS_STALE 4u

#define COUNTER_HIT 0u
#define COUNTER_MISS 1u
#define COUNTER_TUNNEL_HIT 2u
#define COUNTER_DROP 8u

#define PEER_IP4 4u
#define PEER_IP6 6u

#define WHERE_PORT 1u
#define WHERE_TUNNEL 2u
#define WHERE_INJECT 3u
#define WHERE_OUT 4u

#define FATE_SENT 1u
#define FATE_DROPPED 2u
#define FATE_UP 3u

#define NO_SLOT 4294967295u

#define COUNTERS_MAX 72u
#define MARK_SENT 1296979032u
#define MARK_SLOT_BITS 20u

#define NETWORK_NO_PORT 2147483648u
#define HASH_SECRET_WORDS 10
#define TUNNEL_TOS_COPY 256u

struct flow_key {
	__u32 in_port;
	__u32 tun_key;
	__u32 tun_src;
	__u8 eth_dst[6];
	__u8 eth_src[6];
	__be16 eth_type;
	__be16 vlan;
	__u8 ip_src[16];
	__u8 ip_dst[16];
	__be16 tp_src;
	__be16 tp_dst;
	__u8 ip_proto;
	__u8 ip_tos;
	__u8 ip_ttl;
	__u8 ip_frag;
	__u32 mask_id;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct flow_key) == 72, "flow_key");

struct action {
	__u32 flags;
	__u32 generation;
	__u8 eth_dst[6];
	__u8 eth_src[6];
	__u16 vlan;
	__u16 drop_code;
	__u32 group;
	__u32 ifindex;
	__u32 tun_key;
	__u32 peer;
	__u32 in_port;
	__u32 in_key;
	__u16 dec_ttl;
	__u16 mtu;
	__u8 ip_src[16];
	__u8 ip_dst[16];
	__be16 tp_src;
	__be16 tp_dst;
	__u32 connection;
	__u8 tos;
	__u8 tos_mask;
	__u16 spare[9];
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct action) == 112, "action");

struct flow_value {
	__u32 slot;
	__u32 generation;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct flow_value) == 8, "flow_value");

struct flow_stats {
	__u64 packets;
	__u64 bytes;
	__u64 last_used;
	__u64 spare;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct flow_stats) == 32, "flow_stats");

struct group {
	__u32 first;
	__u32 count;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct group) == 8, "group");

struct member {
	__u32 ifindex;
	__u32 tun_key;
	__u32 peer;
	__u32 vlan;
	__u32 rewrite;
	__u32 flags;
	__u32 spare[2];
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct member) == 32, "member");

struct key_target {
	__u32 key;
	__u32 flags;
	__u32 ifindex;
	__u32 network;
	__u8 far_mac[6];
	__u16 spare;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct key_target) == 24, "key_target");

struct peer {
	__u8 address[16];
	__u32 family;
	__u32 spare;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct peer) == 24, "peer");

struct sender {
	__u8 address[16];
	__u32 network;
	__u32 spare;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct sender) == 24, "sender");

struct upcall {
	__u64 time;
	__u32 len;
	__u32 caplen;
	__u32 gso_size;
	__u32 reason;
	__u16 vlan_tci;
	__u16 vlan_present;
	__u32 entry;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct upcall) == 32, "upcall");

struct entry_key {
	__u32 in_port;
	__u32 source;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct entry_key) == 8, "entry_key");

struct entry_ref {
	__u32 number;
	__u32 spare;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct entry_ref) == 8, "entry_ref");

struct entry {
	__u64 buckets[8];
	__u64 masks;
	__u32 queued;
	__u32 drained;
	__u64 up[8];
	__u64 drops[64];
	__u64 agent_drops[64];
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct entry) == 1168, "entry");

struct config {
	__u64 secret[10];
	__u64 token_ns[8];
	__u64 full_ns[8];
	__u32 tunnel_ifindex;
	__u32 inject_ifindex;
	__u32 ring_bytes;
	__u32 tunnel_tos;
	__u64 sight_until;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct config) == 232, "config");

struct sight {
	__u64 until;
	__u64 bucket;
	__u64 token_ns;
	__u64 full_ns;
	__u64 matched;
	__u32 port;
	__u32 snap;
	__u8 key_a[72];
	__u8 mask_a[72];
	__u8 key_b[72];
	__u8 mask_b[72];
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct sight) == 336, "sight");

struct sighting {
	__u64 time;
	__u32 sights;
	__u32 where;
	__u32 fate;
	__u32 code;
	__u32 slot;
	__u32 generation;
	__u32 outputs;
	__u32 ifindex;
	__u32 tun_key;
	__u32 peer;
	__u32 len;
	__u32 caplen;
	__u32 gso_size;
	__u16 vlan_tci;
	__u16 vlan_present;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct sighting) == 64, "sighting");

struct connection {
	__u32 generation;
	__u32 incarnation;
	__u64 seen[2];
	__u32 tcp[2];
	__u64 created;
	__u32 zone;
	__u32 return_zone;
	__u8 protocol;
	__u8 six;
	__u8 translations;
	__u8 spare_byte;
	__u32 spare_word;
	__u8 src[16];
	__u8 dst[16];
	__u8 return_src[16];
	__u8 return_dst[16];
	__be16 src_port;
	__be16 dst_port;
	__be16 return_src_port;
	__be16 return_dst_port;
	__u8 in_port[16];
	__u8 out_port[16];
	__u32 nat_zone[4];
	__u8 nat_changes[4];
	__be16 nat_from_port[4];
	__be16 nat_to_port[4];
	__u32 spare_tail;
	__u8 nat_from[64];
	__u8 nat_to[64];
	__u64 spare[7];
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct connection) == 384, "connection");
