// SPDX-License-Identifier: Apache-2.0
/*
 * The fast path. Nine programs share pinned maps with the agent (layout.h):
 *
 *   port_in   ingress of every bound port
 *   tun_in    ingress of the collect-metadata VXLAN device
 *   inject    egress of the private veth: frames of the agent, skb->mark names the slot
 *   sink      ingress of that veth's other end: takes what inject dropped
 *   rewrite   what these go on with when more than MAC, TTL and tag change
 *   flood     what the former go on with when a frame has several outputs
 *   crossing  what they go on with to a workload's own end, past port_out, while somebody looks
 *   lost      shows a frame that was dropped where the others have no room for it
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
#include "connection.h"
#include "decide.h"
#include "entry.h"
#include "layout.h"
#include "lookup.h"
#include "maps.h"
#include "output.h"
#include "parse.h"
#include "punt.h"
#include "rewrite.h"
#include "sight.h"
#include "tag.h"

#define KEY_FLOOD 0x800000u

/* The entries of `tails`. */
#define TAIL_FLOOD 0
#define TAIL_REWRITE 1
#define TAIL_CROSSING 2
#define TAIL_LOST 3

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

/* Shows, while somebody looks, a frame that was dropped and counted. */
INLINE int show_lost(struct __sk_buff *skb, struct config *config, __u32 code)
{
	if (config && looked_at(config)) {
		skb->cb[CB_GROUP] = code;
		bpf_tail_call(skb, &tails, TAIL_LOST);
	}
	return TC_ACT_SHOT;
}

/* Drops a frame, and shows that. */
INLINE int lose(struct __sk_buff *skb, struct config *config, __u32 code)
{
	drop(code);
	return show_lost(skb, config, code);
}

/* The short way to an interface; while somebody looks, by the program that shows the frame. */
INLINE int cross_over(struct __sk_buff *skb, struct config *config, __u32 ifindex)
{
	if (looked_at(config)) {
		skb->cb[CB_GROUP] = ifindex;
		bpf_tail_call(skb, &tails, TAIL_CROSSING);
	}
	return cross(skb, ifindex);
}

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
		return lose(skb, config, DROP_FLOOD_LIMIT);
	}
	/* A slot that never had an action is all zero: no frame may take that for an output. */
	if (!action->ifindex != !!(flags & ACTION_TUNNEL))
		return lose(skb, config, DROP_STALE_INJECTION);
	/* Without its tag it would be in another network. */
	if (retag(skb, tag, tag_wanted(tag, action->vlan)))
		return lose(skb, config, DROP_MALFORMED);
	decide(DECIDE_OUT, action->ifindex, action->tun_key, action->peer);
	if (flags & ACTION_REDIRECT_PEER && !skb->vlan_present)
		return cross_over(skb, config, action->ifindex);
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
		return lose(skb, config, DROP_MALFORMED);
	for (int i = 0; i < sizeof(*key) / 8; i++)
		((__u64 *)&room->key)[i] = ((__u64 *)key)[i];
	for (int i = 0; i < sizeof(*action) / 8; i++)
		((__u64 *)&room->action)[i] = ((__u64 *)action)[i];
	room->length = frame->length;
	room->l4 = frame->l4;
	room->ip = frame->ip;
	room->tag = tag;
	bpf_tail_call(skb, &tails, TAIL_REWRITE);
	return lose(skb, config, DROP_MALFORMED);
}

/*
 * Shows a frame that a flow serves, `up` 0, or none does. `code`: of the drop, or 0. The action is
 * only looked at when `up` is 0.
 */
INLINE void show_decided(struct __sk_buff *skb, struct config *config, const struct flow_key *key,
			 __u32 where, __u32 slot, const struct action *action, __u32 up, __u32 code)
{
	struct fate fate = { .where = where, .slot = NO_SLOT };

	fate.fate = code ? FATE_DROPPED : up ? FATE_UP : FATE_SENT;
	fate.code = code ? code : up;
	if (!up) {
		fate.slot = slot;
		fate.generation = action->generation;
		fate.ifindex = action->ifindex;
		fate.tun_key = action->tun_key;
		fate.peer = action->peer;
		fate.outputs = !code;
		if (!code && action->flags & ACTION_GROUP) {
			__u32 id = action->group;
			struct group *group = bpf_map_lookup_elem(&groups, &id);

			fate.outputs = group ? group->count - !!(action->flags & ACTION_NOT_BACK) : 0;
		}
	}
	show(skb, config, key, &fate);
}

INLINE int classify(struct __sk_buff *skb, struct config *config, struct flow_key *key,
		    struct frame *frame, __u32 where)
{
	struct action action;
	__u32 slot, up = consult(skb, config, key, frame, &slot, &action), code;

	if (up) {
		decide(DECIDE_UP, up, 0, 0);
		code = hand_up(skb, config, key, up);
	} else {
		decide(DECIDE_HIT, slot, 0, 0);
		account(skb, slot);
		code = refused(skb, &action);
		if (action.connection && !code)
			stamp(skb, key, frame, &action);
	}
	if (looked_at(config))
		show_decided(skb, config, key, where, slot, &action, up, code);
	if (up)
		return TC_ACT_SHOT;
	if (code)
		return drop_of(key, code);
	count(COUNTER_HIT);
	return execute(skb, config, key, frame, &action);
}

SEC("tc") int port_in(struct __sk_buff *skb)
{
	struct config *config = configuration();
	struct flow_key key = {};
	struct frame frame;

	decide_enter(skb, ENTER_PORT);
	if (!config || parse(skb, &key, &frame)) {
		drop_at(skb->ifindex, 0, DROP_MALFORMED);
		return show_lost(skb, config, DROP_MALFORMED);
	}
	key.in_port = skb->ifindex;
	return classify(skb, config, &key, &frame, WHERE_PORT);
}

/* What a key of this host's stands for. */
struct port_of_key {
	__u32 device;
	__u32 source; /* the peer that sent the frame, where that may send so */
	__u32 near;   /* the frame may take the short way there */
};

/* The code of a drop, or 0. */
INLINE __u32 find_port(struct __sk_buff *skb, __u32 tunnel, struct sender *sender,
		       struct port_of_key *port)
{
	struct key_target *target = bpf_map_lookup_elem(&keys, &tunnel);
	__u32 network, *source;

	if (!target)
		return DROP_UNKNOWN_KEY;
	port->device = READ_ONCE(target->ifindex);
	network = READ_ONCE(target->network);
	port->near = READ_ONCE(target->flags) & KEY_REDIRECT_PEER && is_for(skb, target->far_mac);
	/* Last: whoever takes the entry over writes its key first. */
	if (READ_ONCE(target->key) != tunnel || !port->device)
		return DROP_UNKNOWN_KEY;
	sender->network = network & ~NETWORK_NO_PORT;
	source = bpf_map_lookup_elem(&senders, sender);
	if (!source)
		return DROP_UNKNOWN_SENDER;
	port->source = READ_ONCE(*source);
	return network & NETWORK_NO_PORT ? DROP_NO_PORT : 0;
}

INLINE void show_key(struct __sk_buff *skb, struct config *config, struct flow_key *key, __u32 tunnel,
		     const struct port_of_key *port, __u32 code)
{
	struct fate fate = { .where = WHERE_TUNNEL, .code = code, .slot = NO_SLOT };
	struct frame frame;

	fate.fate = code ? FATE_DROPPED : FATE_SENT;
	fate.outputs = !code;
	fate.ifindex = port->device;
	/* What has no key is shown to who looks at everything. */
	parse(skb, key, &frame);
	key->in_port = skb->ifindex;
	key->tun_key = tunnel;
	key->tun_src = port->source;
	show(skb, config, key, &fate);
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
		struct port_of_key port = {};
		__u32 code = find_port(skb, tunnel, &sender, &port);

		if (looked_at(config))
			show_key(skb, config, &key, tunnel, &port, code);
		if (code == DROP_NO_PORT)
			return drop_at(skb->ifindex, port.source, code);
		if (code)
			return drop(code);
		count(COUNTER_TUNNEL_HIT);
		decide(DECIDE_OUT, port.device, 0, 0);
		if (port.near)
			return cross_over(skb, config, port.device);
		return bpf_redirect(aim(skb, config, port.device, 0, 0), 0);
	}
	sender.network = tunnel;
	key.tun_src = sending_peer(&sender);
	if (!key.tun_src)
		return lose(skb, config, DROP_UNKNOWN_SENDER);
	if (parse(skb, &key, &frame)) {
		drop_at(skb->ifindex, key.tun_src, DROP_MALFORMED);
		return show_lost(skb, config, DROP_MALFORMED);
	}
	key.in_port = skb->ifindex;
	key.tun_key = tunnel;
	return classify(skb, config, &key, &frame, WHERE_TUNNEL);
}

INLINE int send_injected(struct __sk_buff *skb)
{
	__u32 slot = (skb->mark & ((1u << MARK_SLOT_BITS) - 1)) - 1;
	__u32 generation = skb->mark >> MARK_SLOT_BITS, code;
	struct config *config = configuration();
	struct flow_key key = {};
	struct frame frame;
	struct action action = {};

	decide_enter(skb, ENTER_INJECT);
	/* The host's own stack has no business on this device either. */
	if (!skb->mark)
		return drop(DROP_NOT_OURS);
	if (!config || parse(skb, &key, &frame))
		return drop(DROP_MALFORMED);
	if (!copy_action(slot, &action, generation, ~0u >> MARK_SLOT_BITS) || action.flags & ACTION_STALE) {
		code = DROP_STALE_INJECTION;
	} else if (expires(&key, &action)) {
		/* Handing it up again would not end: there is no way on for it. */
		code = DROP_MALFORMED;
	} else {
		decide(DECIDE_HIT, slot, 0, 0);
		account(skb, slot);
		code = refused(skb, &action);
		if (action.connection && !code)
			stamp(skb, &key, &frame, &action);
	}
	if (looked_at(config)) {
		key.in_port = action.in_port;
		key.tun_key = action.in_key;
		show_decided(skb, config, &key, WHERE_INJECT, slot, &action, 0, code);
	}
	if (code)
		return drop(code);
	/* This is an egress hook: there is no short way from here. */
	action.flags &= ~ACTION_REDIRECT_PEER;
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
		return lose(skb, config, DROP_FLOOD_LIMIT);
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
			return lose(skb, config, DROP_FLOOD_LIMIT);
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
	return lose(skb, config, DROP_FLOOD_LIMIT);
}

/* Tail-called on an ingress hook, with the interface in CB_GROUP. */
SEC("tc") int crossing(struct __sk_buff *skb)
{
	struct config *config = configuration();
	__u32 ifindex = skb->cb[CB_GROUP];

	if (config)
		show_leaving(skb, config, ifindex, 0);
	return cross(skb, ifindex);
}

/* Tail-called with the code of the drop in CB_GROUP. */
SEC("tc") int lost(struct __sk_buff *skb)
{
	struct config *config = configuration();
	struct fate fate = { .where = WHERE_PORT, .fate = FATE_DROPPED, .slot = NO_SLOT };
	struct flow_key key = {};
	struct frame frame;

	fate.code = skb->cb[CB_GROUP];
	if (!config)
		return TC_ACT_SHOT;
	if (skb->ifindex == config->tunnel_ifindex)
		fate.where = WHERE_TUNNEL;
	else if (skb->ifindex == config->inject_ifindex)
		fate.where = WHERE_INJECT;
	parse(skb, &key, &frame);
	key.in_port = skb->ifindex;
	show(skb, config, &key, &fate);
	return fate.where == WHERE_INJECT ? TC_ACT_OK : TC_ACT_SHOT;
}

SEC("tc") int port_out(struct __sk_buff *skb)
{
	struct config *config = configuration();
	__u32 code = skb->mark == MARK_SENT ? 0 : DROP_NOT_OURS;

	if (code)
		decide_enter(skb, ENTER_OUT);
	if (config && looked_at(config))
		show_leaving(skb, config, skb->ifindex, code);
	if (code)
		return drop_at(skb->ifindex, 0, code);
	skb->mark = 0;
	return TC_ACT_OK;
}
