/**
 * Traffic control by rtnetlink (linux/rtnetlink.h, pkt_sched.h, pkt_cls.h), as far as BPF programs
 * need it to be called for every frame of an interface: the `clsact` qdisc, which holds filters at
 * ingress and egress, and `bpf` filters in direct action, whose program's answer is the verdict.
 *
 * A filter holds its program, and stays when the process ends that put it there. It goes with its
 * qdisc, and that with its interface. A filter put where one is takes its place without a gap
 * (cls_bpf_change). Calls act in the network namespace of the calling thread.
 */
import { ERRNO, SystemError } from '../libc.ts';
import {
  attribute,
  concat,
  decodeAttributes,
  find,
  nested,
  NLM,
  readText,
  text,
  u32,
} from './codec.ts';
import type { Message } from './codec.ts';
import { Netlink } from './socket.ts';

const RTM = {
  newQdisc: 36,
  delQdisc: 37,
  getQdisc: 38,
  newFilter: 44,
  delFilter: 45,
  getFilter: 46,
} as const;
const TCMSG_BYTES = 20;
const TCA = { kind: 1, options: 2 } as const;
const BPF = { fd: 6, name: 7, flags: 8, flagsGeneric: 9 } as const;
/** TCA_BPF_FLAG_ACT_DIRECT */
const DIRECT_ACTION = 1;
/** TCA_CLS_FLAGS_SKIP_HW: a network card shall not try to run it. */
const IN_SOFTWARE = 1;
/** Of clsact as of ingress: there is one of the two on an interface. */
const CLSACT_HANDLE = 0xffff0000;
const CLSACT_PARENT = 0xfffffff1;
const HOOK = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
/** ETH_P_ALL in network order, as in tcm_info. */
const EVERY_PROTOCOL = 0x0300;

export type Hook = keyof typeof HOOK;
export const HOOKS = ['ingress', 'egress'] as const;
/** What comes first is asked first; 0 would mean that the kernel chooses. */
export const FIRST_PRIORITY = 1;
/** Of a filter's name (CLS_BPF_NAME_LEN less its NUL). */
export const FILTER_NAME_MAX = 255;

/** A place that holds one filter. */
export interface FilterPlace {
  readonly ifindex: number;
  readonly hook: Hook;
  readonly priority: number;
  readonly handle: number;
}

export interface Filter {
  /** `bpf`, `flower`, … */
  readonly kind: string;
  readonly priority: number;
  readonly handle: number;
  /** Of a BPF filter. */
  readonly name: string | undefined;
}

export interface Qdisc {
  readonly ifindex: number;
  /** `clsact`, `ingress`, `noqueue`, … */
  readonly kind: string;
}

interface Tcmsg {
  readonly ifindex: number;
  readonly parent: number;
  readonly handle?: number;
  readonly info?: number;
}
function tcmsg({ ifindex, parent, handle = 0, info = 0 }: Tcmsg): Uint8Array {
  const out = new Uint8Array(TCMSG_BYTES);
  const view = new DataView(out.buffer);
  view.setInt32(4, ifindex, true);
  view.setUint32(8, handle, true);
  view.setUint32(12, parent, true);
  view.setUint32(16, info, true);
  return out;
}
const place = ({ ifindex, hook, priority, handle }: FilterPlace): Uint8Array =>
  tcmsg({
    ifindex,
    parent: HOOK[hook],
    handle,
    info: ((priority << 16) | EVERY_PROTOCOL) >>> 0,
  });

const view = (body: Uint8Array): DataView =>
  new DataView(body.buffer, body.byteOffset, body.byteLength);

/** What a qdisc message says; undefined when it is not a whole one. */
export function decodeQdisc({ body }: Message): Qdisc | undefined {
  if (body.length < TCMSG_BYTES) return undefined;
  const kind = readText(find(decodeAttributes(body, TCMSG_BYTES), TCA.kind));
  return kind === undefined ? undefined : { ifindex: view(body).getInt32(4, true), kind };
}

/** What a filter message says; undefined when it is not of one filter (but of its chain). */
export function decodeFilter({ body }: Message): Filter | undefined {
  if (body.length < TCMSG_BYTES) return undefined;
  const attributes = decodeAttributes(body, TCMSG_BYTES);
  const kind = readText(find(attributes, TCA.kind));
  const options = find(attributes, TCA.options);
  if (kind === undefined || options === undefined) return undefined;
  return {
    kind,
    priority: view(body).getUint32(16, true) >>> 16,
    handle: view(body).getUint32(8, true),
    name: kind === 'bpf' ? readText(find(decodeAttributes(options), BPF.name)) : undefined,
  };
}

/** The qdiscs of every interface. */
export function listQdiscs(): Qdisc[] {
  using netlink = new Netlink();
  const body = tcmsg({ ifindex: 0, parent: 0 });
  return netlink
    .request('list qdiscs', RTM.getQdisc, NLM.dump, body)
    .map((message) => (message.type === RTM.newQdisc ? decodeQdisc(message) : undefined))
    .filter((each) => each !== undefined);
}

/** Gives an interface a clsact; false when it has one, or another qdisc in its place. */
export function addClsact(ifindex: number): boolean {
  using netlink = new Netlink();
  const head = tcmsg({ ifindex, parent: CLSACT_PARENT, handle: CLSACT_HANDLE });
  const body = concat(head, attribute(TCA.kind, text('clsact')));
  const flags = NLM.create | NLM.exclusive;
  try {
    netlink.request(`make a clsact on interface ${ifindex}`, RTM.newQdisc, flags, body);
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.code === ERRNO.EEXIST) return false;
    throw error;
  }
}

/** There is no such interface, qdisc, priority or filter: errors of what is gone already. */
const GONE: readonly number[] = [ERRNO.ENOENT, ERRNO.EINVAL, ERRNO.ENODEV];
function unlessGone<T>(request: () => T): T | undefined {
  try {
    return request();
  } catch (error) {
    if (error instanceof SystemError && GONE.includes(error.code)) return undefined;
    throw error;
  }
}

/** With all its filters. Nothing happens when there is none. */
export function removeClsact(ifindex: number): void {
  using netlink = new Netlink();
  const head = tcmsg({ ifindex, parent: CLSACT_PARENT, handle: CLSACT_HANDLE });
  const what = `remove the clsact of interface ${ifindex}`;
  unlessGone(() => netlink.request(what, RTM.delQdisc, 0, head));
}

/** In the order in which frames meet them; none when the interface has no clsact. */
export function listFilters(ifindex: number, hook: Hook): Filter[] {
  using netlink = new Netlink();
  const body = tcmsg({ ifindex, parent: HOOK[hook] });
  const what = `list filters at the ${hook} of interface ${ifindex}`;
  return (unlessGone(() => netlink.request(what, RTM.getFilter, NLM.dump, body)) ?? [])
    .map((message) => (message.type === RTM.newFilter ? decodeFilter(message) : undefined))
    .filter((each) => each !== undefined);
}

/** The filter there; undefined when there is none. */
export function findFilter(at: FilterPlace): Filter | undefined {
  using netlink = new Netlink();
  const what = `look up a filter at the ${at.hook} of interface ${at.ifindex}`;
  const [answer] =
    unlessGone(() => netlink.request(what, RTM.getFilter, 0, concat(place(at), BPF_KIND))) ?? [];
  return answer === undefined ? undefined : decodeFilter(answer);
}
const BPF_KIND = attribute(TCA.kind, text('bpf'));

/**
 * Puts a program there, for every frame; one that is there already gives way without a gap. The
 * interface must have a clsact. EINVAL: among others, another kind of filter has the priority.
 */
export function putFilter(at: FilterPlace, name: string, program: number): void {
  using netlink = new Netlink();
  const options = nested(
    TCA.options,
    attribute(BPF.fd, u32(program)),
    attribute(BPF.name, text(name.slice(0, FILTER_NAME_MAX))),
    attribute(BPF.flags, u32(DIRECT_ACTION)),
    attribute(BPF.flagsGeneric, u32(IN_SOFTWARE)),
  );
  const what = `attach a program at the ${at.hook} of interface ${at.ifindex}`;
  const body = concat(place(at), BPF_KIND, options);
  netlink.request(what, RTM.newFilter, NLM.create | NLM.replace, body);
}

/** Nothing happens when there is none. */
export function deleteFilter(at: FilterPlace): void {
  using netlink = new Netlink();
  const what = `remove a filter at the ${at.hook} of interface ${at.ifindex}`;
  unlessGone(() => netlink.request(what, RTM.delFilter, 0, concat(place(at), BPF_KIND)));
}
