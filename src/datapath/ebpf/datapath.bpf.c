// SPDX-License-Identifier: Apache-2.0
/*
 * The fast path. Six programs share pinned maps with the agent (layout.h):
 *
 *   port_in   ingress of every bound port
 *   tun_in    ingress of the collect-metadata VXLAN device
 *   inject    egress of the private veth: frames of the agent, skb->mark names the slot
 *   sink      ingress of that veth's other end: takes what inject dropped
 *   flood     what the former go on with when a frame has several outputs
 *   port_out  egress of every bound port: passes only what the others sent
 *
 * Invariants:
 * - port_in and tun_in answer only SHOT or REDIRECT: nothing of a tenant ever reaches the host's
 *   stack. (TCX knows no STOLEN: it would mean "next", which is the stack.)
 * - Every frame is forwarded by a flow, handed up, or dropped and counted by a code of drop.ts.
 * - What is handed up was paid for by its entry before: no port fills the ring for the others.
 * - The parser gives the same key as src/flow/parse.ts, packets the same size as size.ts, the
 *   rewrites the same bytes as interpret.ts, for every frame; differential tests compare them.
 * - An action is copied and its generation is looked at before and after: a slot given to another
 *   flow in between is never executed half. It also names the entry of its flow: the kernel may give
 *   a deleted element of a hash to another key while a program reads it, and no frame may take the
 *   way of a frame from elsewhere.
 *
 * No subprograms and no global data: the object then needs no BTF and its loader no more than map
 * relocations.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "layout.h"
#include "parse.h"
#include "tag.h"

#define READ_ONCE(x) (*(volatile typeof(x) *)&(x))

#define TUNNEL_TTL 64
#define KEY_FLOOD 0x800000u

/* Drop codes of src/virtual/drop.ts that this program itself gives. */
#define DROP_FLOOD_LIMIT 7u
#define DROP_NO_PORT 8u
#define DROP_MALFORMED 9u
#define DROP_UNKNOWN_SENDER 10u
#define DROP_UNKNOWN_KEY 11u
#define DROP_UPCALL_LOST 12u
#define DROP_NOT_OURS 13u
#define DROP_STALE_INJECTION 14u
#define DROP_UPCALL_BUDGET 33u

/* The only entry of `tails`. */
#define TAIL_FLOOD 0

/*
 * What `flood` is called with and keeps, in skb->cb. What comes from there is any number to the
 * verifier: in registers, every history of the tag would be a state of its own to walk the rest of
 * the loop with.
 */
#define CB_GROUP 0
#define CB_EXCEPT 1 /* the interface of the one member to leave out, or 0 */
#define CB_VLAN 2   /* what the action says of the tag; above it the number of members served */
#define CB_HAD 3    /* the tag that the frame came with */
#define CB_HAS 4    /* the tag that it has now */
#define SERVED_SHIFT 16
/* Served by one run, which then calls the next: a loop is walked turn by turn, too. */
#define FLOOD_MEMBERS 32u

/* Tries to take tokens while other CPUs take some of the same bucket. */
#define PAY_TRIES 8

struct mask_hint {
	__u32 hash;
	__u32 mask;
};
struct record {
	struct upcall head;
	struct flow_key key;
};

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
MAP(keys);
MAP(senders);
MAP(budgets);
MAP(upcalls);
MAP(counters);
MAP(tails);

INLINE void count(__u32 slot)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &slot);

	if (counter)
		*counter += 1;
}

INLINE int drop(__u32 code)
{
	count(COUNTER_DROP + (code & (DROP_CODES_MAX - 1)));
	return TC_ACT_SHOT;
}

INLINE int fill(struct __sk_buff *skb, struct record *record, struct flow_key *key, __u32 reason,
		__u32 room)
{
	__u32 length = skb->len, captured = length < room ? length : room;

	record->head.time = bpf_ktime_get_ns();
	record->head.len = length;
	record->head.caplen = captured;
	record->head.gso_size = skb->gso_size;
	record->head.reason = reason;
	record->head.vlan_tci = skb->vlan_tci;
	record->head.vlan_present = skb->vlan_present ? bpf_ntohs(skb->vlan_proto) : 0;
	record->head.spare = 0;
	record->key = *key;
	if (captured < ETH_BYTES || captured > room)
		return -1;
	return bpf_skb_load_bytes(skb, 0, record + 1, captured);
}

#define TRY(room)                                                                \
	do {                                                                     \
		struct record *r = bpf_ringbuf_reserve(&upcalls, sizeof(*r) + (room), 0); \
		if (!r)                                                          \
			return drop(DROP_UPCALL_LOST);                           \
		if (fill(skb, r, key, reason, (room))) {                         \
			bpf_ringbuf_discard(r, 0);                               \
			return drop(DROP_UPCALL_LOST);                           \
		}                                                                \
		bpf_ringbuf_submit(r, 0);                                        \
	} while (0)

/*
 * Takes the tokens for handing a frame up from its entry's bucket; the rule of src/datapath/budget.ts.
 *
 * A bucket is the time at which it is full again: taking tokens moves it on, and it must not be
 * further away than an empty one would be. No lock (that takes BTF): a swap that fails means that
 * another CPU took tokens. So no more is ever given than there is; what can go wrong is that a frame
 * is refused though there are tokens, when PAY_TRIES others of its entry were served in between. An
 * entry just removed may be another's already (see above): that one lacks a token then.
 */
INLINE int pays(struct __sk_buff *skb, struct config *config, const struct flow_key *key)
{
	struct budget_key entry = { .in_port = key->in_port, .source = key->tun_src };
	struct budget *budget = bpf_map_lookup_elem(&budgets, &entry);
	__u64 now, cost, full, *bucket;

	if (!budget)
		return 0;
	if (key->eth_dst[0] & 1) {
		bucket = &budget->groups;
		cost = config->group_ns;
		full = config->groups_full_ns;
	} else {
		bucket = &budget->frames;
		cost = config->frame_ns;
		full = config->frames_full_ns;
	}
	if (key->tun_src)
		cost /= BUDGET_SOURCE_FACTOR;
	if (skb->len + (skb->vlan_present ? TAG_BYTES : 0) > UPCALL_MIDDLE_BYTES)
		cost *= UPCALL_LARGE_COST;
	now = bpf_ktime_get_ns();
	for (int i = 0; i < PAY_TRIES; i++) {
		__u64 before = READ_ONCE(*bucket), after = (before > now ? before : now) + cost;

		if (after > now + full)
			return 0;
		if (__sync_val_compare_and_swap(bucket, before, after) == before)
			return 1;
	}
	return 0;
}

/* Hands the frame to the agent. */
INLINE int hand_up(struct __sk_buff *skb, struct config *config, struct flow_key *key, __u32 reason)
{
	if (!pays(skb, config, key))
		return drop(DROP_UPCALL_BUDGET);
	if (skb->len <= UPCALL_SMALL_BYTES)
		TRY(UPCALL_SMALL_BYTES);
	else if (skb->len <= UPCALL_MIDDLE_BYTES)
		TRY(UPCALL_MIDDLE_BYTES);
	else if (skb->len <= UPCALL_LARGE_BYTES)
		TRY(UPCALL_LARGE_BYTES);
	else
		return drop(DROP_UPCALL_LOST);
	count(COUNTER_MISS);
	return TC_ACT_SHOT;
}

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

/* Rewrites in the order MAC, TTL, VLAN; then the outputs. */
INLINE int execute(struct __sk_buff *skb, struct config *config, struct flow_key *key,
		   struct frame *frame, struct action *action)
{
	__u32 flags = action->flags, tag = tag_of(skb);

	if (flags & ACTION_DROP)
		return drop(action->drop_code);
	if (flags & ACTION_SET_ETH_DST)
		bpf_skb_store_bytes(skb, 0, action->eth_dst, 6, 0);
	if (flags & ACTION_SET_ETH_SRC)
		bpf_skb_store_bytes(skb, 6, action->eth_src, 6, 0);
	if (action->dec_ttl)
		subtract_ttl(skb, key, frame, action->dec_ttl);
	if (flags & ACTION_GROUP) {
		skb->cb[CB_GROUP] = action->group;
		skb->cb[CB_EXCEPT] = flags & ACTION_NOT_BACK ? action->in_port : 0;
		skb->cb[CB_VLAN] = action->vlan;
		skb->cb[CB_HAD] = skb->cb[CB_HAS] = tag;
		bpf_tail_call(skb, &tails, TAIL_FLOOD);
		return drop(DROP_FLOOD_LIMIT);
	}
	/* A slot that never had an action is all zero: no frame may take that for an output. */
	if (!action->ifindex != !!(flags & ACTION_TUNNEL))
		return drop(DROP_STALE_INJECTION);
	/* Without its tag it would be in another network. */
	if (retag(skb, tag, tag_wanted(tag, action->vlan)))
		return drop(DROP_MALFORMED);
	return bpf_redirect(aim(skb, config, action->ifindex, action->tun_key, action->remote), 0);
}

/* Copies a slot's action. False when the slot is not (or no longer) of this generation. */
INLINE int copy_action(__u32 slot, struct action *copy, __u32 generation, __u32 bits)
{
	struct action *live = bpf_map_lookup_elem(&actions, &slot);

	if (!live || (READ_ONCE(live->generation) ^ generation) & bits)
		return 0;
	for (int i = 0; i < sizeof(*copy) / 8; i++)
		((__u64 *)copy)[i] = READ_ONCE(((__u64 *)live)[i]);
	return !((READ_ONCE(live->generation) ^ generation) & bits);
}

INLINE void account(struct __sk_buff *skb, __u32 slot)
{
	struct flow_stats *stat = bpf_map_lookup_elem(&stats, &slot);
	__u32 segments = skb->gso_segs, size = skb->gso_size;
	__u64 now;

	if (!stat)
		return;
	/* What a tap or the agent sent has a segment size but no count yet. */
	if (!segments)
		segments = size ? (skb->len + size - 1) / size : 1;
	__sync_fetch_and_add(&stat->packets, segments);
	__sync_fetch_and_add(&stat->bytes, skb->len + (skb->vlan_present ? TAG_BYTES : 0));
	now = bpf_ktime_get_coarse_ns();
	if (stat->last_used != now)
		stat->last_used = now;
}

/*
 * Multiply and fold over the words of the key, keyed by a secret: who does not know it cannot
 * choose frames that evict each other's hints.
 */
INLINE __u32 hash_key(const struct flow_key *key, __u64 secret)
{
	const __u64 *words = (const void *)key;
	__u64 hash = secret;

	for (int i = 0; i < sizeof(*key) / 8; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 32;
	}
	return hash ^ secret >> 32;
}

/* Looks for the key under one mask. */
INLINE struct flow_value *find(const struct flow_key *key, __u32 at)
{
	struct flow_key *mask = bpf_map_lookup_elem(&masks, &at);
	struct flow_key masked;

	if (!mask || !mask->mask_id)
		return 0;
	for (int i = 0; i < sizeof(masked) / 8; i++)
		((__u64 *)&masked)[i] = ((const __u64 *)key)[i] & ((__u64 *)mask)[i];
	masked.mask_id = mask->mask_id;
	return bpf_map_lookup_elem(&flows, &masked);
}

/*
 * Flows are disjoint, so whichever mask finds one finds the only one; a wrong hint merely misses.
 */
INLINE struct flow_value *lookup(struct config *config, const struct flow_key *key)
{
	__u32 hash = hash_key(key, config->secret), at = hash % MASK_CACHE_SIZE, n = config->masks;
	struct mask_hint *hint = bpf_map_lookup_elem(&hints, &at);
	struct flow_value *flow = 0;

	if (!hint)
		return 0;
	if (hint->hash == hash)
		flow = find(key, hint->mask);
	if (flow)
		return flow;
	for (__u32 i = 0; i < MASKS_MAX; i++) {
		if (i >= n)
			break;
		flow = find(key, i);
		if (flow) {
			hint->hash = hash;
			hint->mask = i;
			break;
		}
	}
	return flow;
}

/*
 * IPv4 or IPv6 of whose TTL not so much can be subtracted (also a header too broken to have one).
 */
INLINE int expires(const struct flow_key *key, const struct action *action)
{
	return action->dec_ttl && is_ip(key) && key->ip_ttl <= action->dec_ttl;
}

/* Finds what to do with the frame; 0, or why the agent is to say that. */
INLINE __u32 consult(struct __sk_buff *skb, struct config *config, struct flow_key *key,
		     struct frame *frame, __u32 *slot, struct action *action)
{
	struct flow_value *flow = lookup(config, key);

	if (!flow)
		return UPCALL_MISS;
	*slot = READ_ONCE(flow->slot);
	if (!copy_action(*slot, action, READ_ONCE(flow->generation), ~0u) || action->flags & ACTION_STALE)
		return UPCALL_STALE;
	if (action->in_port != key->in_port || action->in_key != key->tun_key)
		return UPCALL_STALE;
	if (expires(key, action))
		return UPCALL_TTL;
	if (action->mtu && packet_size(skb, key, frame) > action->mtu)
		return UPCALL_TOO_BIG;
	return 0;
}

INLINE int classify(struct __sk_buff *skb, struct config *config, struct flow_key *key,
		    struct frame *frame)
{
	struct action action;
	__u32 slot, reason = consult(skb, config, key, frame, &slot, &action);

	if (reason)
		return hand_up(skb, config, key, reason);
	account(skb, slot);
	if (!(action.flags & ACTION_DROP))
		count(COUNTER_HIT);
	return execute(skb, config, key, frame, &action);
}

INLINE struct config *configuration(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

SEC("tc") int port_in(struct __sk_buff *skb)
{
	struct config *config = configuration();
	struct flow_key key = {};
	struct frame frame;

	if (!config || parse(skb, &key, &frame))
		return drop(DROP_MALFORMED);
	key.in_port = skb->ifindex;
	return classify(skb, config, &key, &frame);
}

SEC("tc") int tun_in(struct __sk_buff *skb)
{
	struct config *config = configuration();
	struct bpf_tunnel_key tunnel = {};
	struct flow_key key = {};
	struct frame frame;
	struct sender sender = {};

	/* An IPv6 underlay is refused by the helper: nobody may send from there. */
	if (!config || bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), 0))
		return drop(DROP_UNKNOWN_SENDER);
	sender.source = tunnel.remote_ipv4;
	if (!(tunnel.tunnel_id & KEY_FLOOD)) {
		struct key_target *target = bpf_map_lookup_elem(&keys, &tunnel.tunnel_id);
		__u32 device, network;

		if (!target)
			return drop(DROP_UNKNOWN_KEY);
		device = READ_ONCE(target->ifindex);
		network = READ_ONCE(target->network);
		/* Last: whoever takes the entry over writes its key first. */
		if (READ_ONCE(target->key) != tunnel.tunnel_id || !device)
			return drop(DROP_UNKNOWN_KEY);
		sender.network = network & ~NETWORK_NO_PORT;
		if (!bpf_map_lookup_elem(&senders, &sender))
			return drop(DROP_UNKNOWN_SENDER);
		if (network & NETWORK_NO_PORT)
			return drop(DROP_NO_PORT);
		count(COUNTER_TUNNEL_HIT);
		return bpf_redirect(aim(skb, config, device, 0, 0), 0);
	}
	sender.network = tunnel.tunnel_id;
	if (!bpf_map_lookup_elem(&senders, &sender))
		return drop(DROP_UNKNOWN_SENDER);
	if (parse(skb, &key, &frame))
		return drop(DROP_MALFORMED);
	key.in_port = skb->ifindex;
	key.tun_key = tunnel.tunnel_id;
	key.tun_src = tunnel.remote_ipv4;
	return classify(skb, config, &key, &frame);
}

INLINE int send_injected(struct __sk_buff *skb)
{
	__u32 slot = (skb->mark & ((1u << MARK_SLOT_BITS) - 1)) - 1;
	__u32 generation = skb->mark >> MARK_SLOT_BITS;
	struct config *config = configuration();
	struct flow_key key = {};
	struct frame frame;
	struct action action;

	/* The host's own stack has no business on this device either. */
	if (!skb->mark)
		return drop(DROP_NOT_OURS);
	if (!config || parse(skb, &key, &frame))
		return drop(DROP_MALFORMED);
	if (!copy_action(slot, &action, generation, ~0u >> MARK_SLOT_BITS) || action.flags & ACTION_STALE)
		return drop(DROP_STALE_INJECTION);
	/* Handing it up again would not end: there is no way on for it. */
	if (expires(&key, &action))
		return drop(DROP_MALFORMED);
	account(skb, slot);
	return execute(skb, config, &key, &frame, &action);
}

/*
 * skb->mark: slot + 1, and above it the low bits of the slot's generation. What is dropped goes on
 * to the sink: a packet socket takes SHOT here for an error and stops in the middle of its batch.
 */
SEC("tc") int inject(struct __sk_buff *skb)
{
	int verdict = send_injected(skb);

	return verdict == TC_ACT_SHOT ? TC_ACT_OK : verdict;
}

SEC("tc") int sink(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

/* Tail-called with what CB_… says: every member but the last gets a clone. */
SEC("tc") int flood(struct __sk_buff *skb)
{
	struct config *config = configuration();
	__u32 id = skb->cb[CB_GROUP], served = skb->cb[CB_VLAN] >> SERVED_SHIFT;
	struct group *group = bpf_map_lookup_elem(&groups, &id);
	__u32 first, n, last;
	struct member *end;

	if (!config || !group)
		return drop(DROP_FLOOD_LIMIT);
	first = group->first;
	n = group->count;
	last = first + n - 1;
	end = bpf_map_lookup_elem(&members, &last);
	if (end && end->ifindex && end->ifindex == skb->cb[CB_EXCEPT])
		n--;
	first += served;
	n -= served;
	for (__u32 i = 0; i < FLOOD_MEMBERS; i++) {
		__u32 at = first + i, device, tag;
		struct member *member = bpf_map_lookup_elem(&members, &at);

		if (!member || i >= n)
			return drop(DROP_FLOOD_LIMIT);
		if (member->ifindex && member->ifindex == skb->cb[CB_EXCEPT])
			continue;
		tag = tag_wanted(skb->cb[CB_HAD], member->vlan ? member->vlan : skb->cb[CB_VLAN] & 0xffff);
		if (retag(skb, skb->cb[CB_HAS], tag)) {
			/* Without its tag it would be in another network: this copy is lost. */
			count(COUNTER_DROP + DROP_MALFORMED);
			skb->cb[CB_HAS] = 0;
			continue;
		}
		skb->cb[CB_HAS] = tag;
		device = aim(skb, config, member->ifindex, member->tun_key, member->remote);
		/* For the compiler: with n - 1 in another register the verifier would not see what it is. */
		asm volatile("" : "+r"(n));
		if (i + 1 >= n)
			return bpf_redirect(device, 0);
		bpf_clone_redirect(skb, device, 0);
	}
	skb->cb[CB_VLAN] += FLOOD_MEMBERS << SERVED_SHIFT;
	bpf_tail_call(skb, &tails, TAIL_FLOOD);
	return drop(DROP_FLOOD_LIMIT);
}

SEC("tc") int port_out(struct __sk_buff *skb)
{
	if (skb->mark != MARK_SENT)
		return drop(DROP_NOT_OURS);
	skb->mark = 0;
	return TC_ACT_OK;
}

