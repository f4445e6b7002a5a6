/**
 * A host asks for public ports of an address: it gets ports that nobody owns, as many as are fair.
 *
 * Invariants: no port has two owners; ports are given only where rules of a router that the host
 * carries, or its load balancers, translate to them; ports that were given back are given again
 * last.
 */
import { formatIp, parseIp, type Ip } from '#net/ip.ts';
import { parseNetwork } from '#net/prefix.ts';
import type { Draft } from '../draft.ts';
import { entitled, objectKey } from '../entitlement.ts';
import type { HostId } from '../ids.ts';
import type { StoredObject } from '../kind.ts';
import type { ObjectOf } from '../kinds.ts';
import { NAT_BLOCK_PORTS, natBlockKind } from '../nat-block/nat-block.ts';
import { within } from '../nat/choose.ts';
import { isIn, SNAT_PORTS, targetOf } from '../rule/nat.ts';
import type { Range } from '../rule/values.ts';
import type { Topology } from '../topology.ts';
import type { Body, CreateOperation, Work } from './work.ts';

type NatBlockRow = ObjectOf<'nat-block'>;

/** Ports that one request may ask for. */
export const NAT_BLOCK_ASK_MAX = 16_384;
/** No request gets more than this part of what is free, so that others get some too. */
const FAIR_PART = 1 / 4;
const UNITS = 65_536 / NAT_BLOCK_PORTS;
const FIELDS = ['router', 'address', 'first', 'last', 'ports'];
const PORT_MAX = 65_535;

interface Asked {
  readonly router: string;
  readonly address: Ip;
  readonly ports: number;
  readonly range: Range;
}

function read({ faults, draft }: Work, body: Body): Asked | undefined {
  const before = faults.count;
  for (const field of Object.keys(body))
    if (!FIELDS.includes(field)) faults.add(400, field, 'is not a field of a request for ports');
  const { router, address: text, ports = NAT_BLOCK_PORTS } = body;
  const { first = SNAT_PORTS.first, last = SNAT_PORTS.last } = body;
  const address = typeof text === 'string' ? parseIp(text) : undefined;
  if (typeof router !== 'string' || draft.get('router', router) === undefined)
    faults.add(400, 'router', 'must be the id of a router');
  if (address === undefined) faults.add(400, 'address', 'must be an IPv4 or IPv6 address');
  if (
    typeof ports !== 'number' ||
    !Number.isInteger(ports) ||
    ports < 1 ||
    ports > NAT_BLOCK_ASK_MAX
  )
    faults.add(400, 'ports', `must be a whole number from 1 to ${NAT_BLOCK_ASK_MAX}`);
  for (const [field, port] of Object.entries({ first, last }))
    if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > PORT_MAX)
      faults.add(400, field, `must be a whole number from 0 to ${PORT_MAX}`);
  if (faults.count === before && (first as number) > (last as number))
    faults.add(400, 'last', 'must not be less than first');
  if (faults.count > before || address === undefined) return undefined;
  return {
    router: router as string,
    address,
    ports: ports as number,
    range: { first: first as number, last: last as number },
  };
}

/**
 * The ports to which rules translate sources at this address, whichever chain they are in; at an
 * address of the router itself also those to which its load balancers do.
 */
function rangesOf(draft: Draft, router: string, address: Ip): Range[] {
  const ranges: Range[] = [];
  if (isBalancedAt(draft, router, address)) ranges.push(SNAT_PORTS);
  for (const rule of draft.list('rule') as Iterable<ObjectOf<'rule'>>) {
    if (rule.action !== 'snat' || rule.static === true) continue;
    for (const text of rule.targets ?? []) {
      const target = targetOf(text);
      if (isIn({ ...target, ports: undefined }, address, 0, { first: 0, last: 0 }))
        ranges.push(target.ports ?? SNAT_PORTS);
    }
  }
  return ranges;
}

/** Whether packets of load balancers, and of checks of their members, may come from an address. */
function isBalancedAt(draft: Draft, router: string, address: Ip): boolean {
  if (draft.referrers('load-balancer', 'router', router).length === 0) return false;
  return draft
    .referrers('port', 'router', router)
    .flatMap((id) => (draft.get('port', id) as ObjectOf<'port'> | undefined)?.networks ?? [])
    .some((text) => parseNetwork(text)?.address === address);
}

const unitOf = (port: number): number => Math.floor(port / NAT_BLOCK_PORTS);

/** Port 0 is no port: it is the address, for protocols that have none. */
const isAddress = ({ last }: Range): boolean => last === 0;

/** By unit: whether it may be given to who asks for ports of a range. */
function freeUnits(asked: Range, rules: readonly Range[], taken: readonly NatBlockRow[]) {
  const free = new Uint8Array(UNITS);
  for (const { first, last } of isAddress(asked) ? [asked] : within(rules, asked))
    free.fill(1, unitOf(first), unitOf(last) + 1);
  for (const { first, last } of taken) free.fill(0, unitOf(first), unitOf(last) + 1);
  return free;
}

/** The first run of free units from a place on, round the end; not longer than `most`. */
function runFrom(free: Uint8Array, start: number, most: number): Range | undefined {
  for (let n = 0; n < UNITS; n++) {
    const first = (start + n) % UNITS;
    if (free[first] === 0) continue;
    let last = first;
    while (last + 1 < UNITS && last + 1 - first < most && free[last + 1] === 1) last += 1;
    return { first, last };
  }
  return undefined;
}

function takenOf(draft: Draft, router: string, address: string): NatBlockRow[] {
  return draft
    .referrers('nat-block', 'router', router)
    .map((id) => draft.get('nat-block', id) as NatBlockRow)
    .filter((row) => row.address === address);
}

/** Behind what was given last. */
const startOf = (taken: readonly NatBlockRow[]): number => {
  const newest = taken.reduce<NatBlockRow | undefined>(
    (a, b) => (a === undefined || b.revision > a.revision ? b : a),
    undefined,
  );
  return newest === undefined ? unitOf(SNAT_PORTS.first) : (unitOf(newest.last) + 1) % UNITS;
};

/** Undefined when there are faults. */
export function grantPorts(
  work: Work,
  { body }: CreateOperation,
  base: Topology,
): StoredObject | undefined {
  const { draft, faults, context } = work;
  const { caller } = context;
  if (caller.role !== 'host') throw new Error('plan: only hosts own public ports');
  const asked = read(work, body);
  if (asked === undefined) return undefined;
  const { router, ports, range } = asked;
  const address = formatIp(asked.address);
  const ranges = rangesOf(draft, router, asked.address);
  if (!entitled(base, caller.host as HostId).has(objectKey('router', router)))
    faults.add(403, 'router', 'is none that packets of this host cross');
  else if (ranges.length === 0)
    faults.add(409, 'address', `is no target of a rule with action snat: ${address}`);
  if (faults.count > 0) return undefined;
  const taken = takenOf(draft, router, address);
  const free = freeUnits(range, ranges, taken);
  const left = free.reduce((sum, unit) => sum + unit, 0);
  const fair = Math.max(1, Math.floor(left * FAIR_PART));
  const most = Math.min(Math.ceil(ports / NAT_BLOCK_PORTS), fair);
  const run = runFrom(free, startOf(taken), most);
  if (run === undefined) {
    const what = isAddress(range)
      ? 'is used by another host for protocols without ports'
      : `has no port from ${range.first} to ${range.last} left that nobody owns`;
    faults.add(409, 'address', `${what}: ${address}`);
    return undefined;
  }
  const fields = {
    id: context.newId(),
    router,
    address,
    first: run.first * NAT_BLOCK_PORTS,
    last: (run.last + 1) * NAT_BLOCK_PORTS - 1,
    host: caller.host,
  };
  const block: StoredObject = { ...natBlockKind.schema.parse(fields), revision: 0 };
  draft.put('nat-block', block, faults.operation);
  return block;
}
