// SPDX-License-Identifier: Apache-2.0
/*
 * The fast path. Seven programs share pinned maps with the agent (layout.h):
 *
 *   port_in   ingress of every bound port
 *   tun_in    ingress of the collect-metadata VXLAN device
 *   inject    egress of the private veth: frames of the agent, skb->mark names the slot
 *   sink      ingress of that veth's other end: takes what inject dropped
 *   rewrite   what these go on with when more than MAC, TTL and tag change
 *   flood     what the former go on with when a frame has several outputs
 *   port_out  egress of every bound port: passes only what the others sent
 *
 * Invariants:
 * - port_in and tun_in answer only SHOT or REDIRECT: nothing of a tenant ever reaches the host's
 *   stack. (TCX knows no STOLEN: it would mean "next", which is the stack.)
 * - Every frame is forwarded by a flow, handed up, or dropped and counted by a code of drop.ts.
 * - The parser gives the same key as src/flow/parse.ts, packets the same size as size.ts, the
 *   rewrites the same bytes as interpret.ts, for every frame; differential tests compare them.
 *
 * No subprograms and no global data: the object then needs no BTF and its loader no more than map
 * relocations.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "decide.h"
#include "entry.h"
#include "layout.h"
#include "lookup.h"
#include "maps.h"
#include "output.h"
#include "parse.h"
#include "punt.h"
#include "rewrite.h"
#include "tag.h"

#define KEY_FLOOD 0x800000u

/* The entries of `tails`. */
#define TAIL_FLOOD 0
#define TAIL_REWRITE 1

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

/* To the outputs of a frame on which everything but its tag is rewritten. */
INLINE int send(struct __sk_buff *skb, struct config *config, struct action *action, __u32 tag)
{
	__u32 flags = action->flags;

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
	decide(DECIDE_OUT, action->ifindex, action->tun_key, action->peer);
	if (flags & ACTION_REDIRECT_PEER && !skb->vlan_present)
		return cross(skb, action->ifindex);
	return bpf_redirect(aim(skb, config, action->ifindex, action->tun_key, action->peer), 0);
}

/* Rewrites, the tag last, of a frame that is not `refused`; then the outputs. */
INLINE int execute(struct __sk_buff *skb, struct config *config, struct flow_key *key,
		   struct frame *frame, struct action *action)
{
	__u32 flags = action->flags, tag = tag_of(skb), zero = 0;
	struct work *room;

	if (flags & ACTION_SET_ETH_DST)
		bpf_skb_store_bytes(skb, 0, action->eth_dst, 6, 0);
	if (flags & ACTION_SET_ETH_SRC)
		bpf_skb_store_bytes(skb, 6, action->eth_src, 6, 0);
	if (action->dec_ttl)
		subtract_ttl(skb, key, frame, action->dec_ttl);
	if (!rewrites_packet(action))
		return send(skb, config, action, tag);
	room = bpf_map_lookup_elem(&work, &zero);
	if (!room)
		return drop(DROP_MALFORMED);
	for (int i = 0; i < sizeof(*key) / 8; i++)
		((__u64 *)&room->key)[i] = ((__u64 *)key)[i];
	for (int i = 0; i < sizeof(*action) / 8; i++)
		((__u64 *)&room->action)[i] = ((__u64 *)action)[i];
	room->length = frame->length;
	room->l4 = frame->l4;
	room->ip = frame->ip;
	room->tag = tag;
	bpf_tail_call(skb, &tails, TAIL_REWRITE);
	return drop(DROP_MALFORMED);
}

INLINE int classify(struct __sk_buff *skb, struct config *config, struct flow_key *key,
		    struct frame *frame)
{
	struct action action;
	__u32 slot, reason = consult(skb, config, key, frame, &slot, &action);

	if (reason) {
		decide(DECIDE_UP, reason, 0, 0);
		return hand_up(skb, config, key, reason);
	}
	decide(DECIDE_HIT, slot, 0, 0);
	account(skb, slot);
	reason = refused(skb, &action);
	if (reason)
		return drop_of(key, reason);
	count(COUNTER_HIT);
	return execute(skb, config, key, frame, &action);
}

SEC("tc") int port_in(struct __sk_buff *skb)
{
	struct config *config = configuration();
	struct flow_key key = {};
	struct frame frame;

	decide_enter(skb, ENTER_PORT);
	if (!config || parse(skb, &key, &frame))
		return drop_at(skb->ifindex, 0, DROP_MALFORMED);
	key.in_port = skb->ifindex;
	return classify(skb, config, &key, &frame);
}

SEC("tc") int tun_in(struct __sk_buff *skb)
{
	struct config *config = configuration();
	struct flow_key key = {};
	struct frame frame;
	struct sender sender = {};
	__u32 tunnel;

	decide_enter(skb, ENTER_TUNNEL);
	if (!config || tunnel_source(skb, &sender, &tunnel))
		return drop(DROP_UNKNOWN_SENDER);
	if (!(tunnel & KEY_FLOOD)) {
		struct key_target *target = bpf_map_lookup_elem(&keys, &tunnel);
		__u32 device, network, near, *source;

		if (!target)
			return drop(DROP_UNKNOWN_KEY);
		device = READ_ONCE(target->ifindex);
		network = READ_ONCE(target->network);
		near = READ_ONCE(target->flags) & KEY_REDIRECT_PEER && is_for(skb, target->far_mac);
		/* Last: whoever takes the entry over writes its key first. */
		if (READ_ONCE(target->key) != tunnel || !device)
			return drop(DROP_UNKNOWN_KEY);
		sender.network = network & ~NETWORK_NO_PORT;
		source = bpf_map_lookup_elem(&senders, &sender);
		if (!source)
			return drop(DROP_UNKNOWN_SENDER);
		if (network & NETWORK_NO_PORT)
			return drop_at(skb->ifindex, READ_ONCE(*source), DROP_NO_PORT);
		count(COUNTER_TUNNEL_HIT);
		decide(DECIDE_OUT, device, 0, 0);
		if (near)
			return cross(skb, device);
		return bpf_redirect(aim(skb, config, device, 0, 0), 0);
	}
	sender.network = tunnel;
	key.tun_src = sending_peer(&sender);
	if (!key.tun_src)
		return drop(DROP_UNKNOWN_SENDER);
	if (parse(skb, &key, &frame))
		return drop_at(skb->ifindex, key.tun_src, DROP_MALFORMED);
	key.in_port = skb->ifindex;
	key.tun_key = tunnel;
	return classify(skb, config, &key, &frame);
}

INLINE int send_injected(struct __sk_buff *skb)
{
	__u32 slot = (skb->mark & ((1u << MARK_SLOT_BITS) - 1)) - 1;
	__u32 generation = skb->mark >> MARK_SLOT_BITS, reason;
	struct config *config = configuration();
	struct flow_key key = {};
	struct frame frame;
	struct action action;

	decide_enter(skb, ENTER_INJECT);
	/* The host's own stack has no business on this device either. */
	if (!skb->mark)
		return drop(DROP_NOT_OURS);
	if (!config || parse(skb, &key, &frame))
		return drop(DROP_MALFORMED);
	if (!copy_action(slot, &action, generation, ~0u >> MARK_SLOT_BITS) || action.flags & ACTION_STALE)
		return drop(DROP_STALE_INJECTION);
	/* This is an egress hook: there is no short way from here. */
	action.flags &= ~ACTION_REDIRECT_PEER;
	/* Handing it up again would not end: there is no way on for it. */
	if (expires(&key, &action))
		return drop(DROP_MALFORMED);
	decide(DECIDE_HIT, slot, 0, 0);
	account(skb, slot);
	reason = refused(skb, &action);
	if (reason)
		return drop(reason);
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

/* Tail-called with this CPU's work. */
SEC("tc") int rewrite(struct __sk_buff *skb)
{
	struct config *config = configuration();
	__u32 zero = 0;
	struct work *room = bpf_map_lookup_elem(&work, &zero);

	if (!config || !room)
		return drop(DROP_MALFORMED);
	rewrite_packet(skb, room);
	return send(skb, config, &room->action, room->tag);
}

/*
 * Tail-called with what CB_… says: every member but the last gets a clone. One that is rewritten
 * goes through the private veth, whose program does that and sends it on.
 */
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
			drop(DROP_MALFORMED);
			skb->cb[CB_HAS] = 0;
			continue;
		}
		skb->cb[CB_HAS] = tag;
		if (member->rewrite) {
			decide(DECIDE_OUT, config->inject_ifindex, 0, 0);
			skb->mark = member->rewrite;
			device = config->inject_ifindex;
		} else {
			decide(DECIDE_OUT, member->ifindex, member->tun_key, member->peer);
			device = aim(skb, config, member->ifindex, member->tun_key, member->peer);
		}
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
	if (skb->mark != MARK_SENT) {
		decide_enter(skb, ENTER_OUT);
		return drop_at(skb->ifindex, 0, DROP_NOT_OURS);
	}
	skb->mark = 0;
	return TC_ACT_OK;
}

