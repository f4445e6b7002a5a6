/**
 * For tests: random edits of a small network, by name, so that any two may meet: devices, ports,
 * bindings, links, routes, chains and their rules, groups. Many are refused, as many of users' are.
 */
import fc from 'fast-check';
import type { Operation } from '#client/types.ts';

const WHATS = [
  'port',
  'bind',
  'unbind',
  'drop',
  'device',
  'dropDevice',
  'zone',
  'locate',
  'rename',
  'together',
  'link',
  'unlink',
  'route',
  'dropRoute',
  'filter',
  'rule',
  'place',
  'dropRule',
  'member',
  'dropChain',
] as const;

export interface Edit {
  readonly what: (typeof WHATS)[number];
  readonly a: number;
  readonly b: number;
}
const edit = fc.record({
  // What moves borders most, most often.
  what: fc.constantFrom<Edit['what']>(
    ...WHATS,
    'link',
    'link',
    'bind',
    'unlink',
    'drop',
    'filter',
    'rule',
  ),
  a: fc.nat(6),
  b: fc.nat(6),
});
export const edits = (maxLength: number): fc.Arbitrary<Edit[]> =>
  fc.array(edit, { maxLength, size: 'max' });

/** Bridges b0 to b2, routers r0 and r1. */
export const DEVICES = ['b0', 'b1', 'b2', 'r0', 'r1'];
export const HOSTS = ['h0', 'h1', 'h2'];
const CHAINS = ['c0', 'c1', 'c2'];
/** Ports p0 to p6: what they belong to at first. */
const PORTS_FIRST = 7;

const kindOf = (device: string): 'bridge' | 'router' =>
  device.startsWith('b') || device.startsWith('t') ? 'bridge' : 'router';
const create = (kind: Operation['kind'], body: Record<string, unknown>): Operation => ({
  op: 'create',
  kind,
  body,
});
const port = (name: string, device: string): Operation =>
  create('port', { name, [kindOf(device)]: device });
const update = (kind: Operation['kind'], id: string, body: Record<string, unknown>): Operation => ({
  op: 'update',
  kind,
  id,
  body,
});
const change = (name: string, body: Record<string, unknown>): Operation =>
  update('port', name, body);
const remove = (kind: Operation['kind'], id: string): Operation => ({ op: 'delete', kind, id });

export const basics: readonly Operation[] = [
  ...DEVICES.map((name) => create(kindOf(name), { name })),
  ...Array.from({ length: PORTS_FIRST }, (_, i) =>
    port(`p${i}`, DEVICES[i % DEVICES.length] ?? ''),
  ),
  ...CHAINS.map((name) => create('chain', { name })),
  create('address-group', { name: 'ag' }),
  create('port-group', { name: 'pg' }),
];

/** The object that an edit would create, if it is one that later edits name. */
export function created({
  what,
  a,
  b,
}: Edit): readonly ['port' | 'bridge' | 'router', string] | undefined {
  const device = DEVICES[b % DEVICES.length] ?? '';
  if (what === 'port') return ['port', `p${a}`];
  return what === 'device' ? [kindOf(device), device] : undefined;
}

/** `n`: another number for each edit. */
export function operationsOf({ what, a, b }: Edit, n: number): Operation[] {
  const one = `p${a}`;
  const other = `p${b}`;
  const device = DEVICES[b % DEVICES.length] ?? '';
  const host = HOSTS[b % HOSTS.length] ?? '';
  switch (what) {
    case 'port':
      return [port(one, device)];
    case 'bind':
      return [change(one, { host, interface: `eth-${a}` })];
    case 'unbind':
      return [change(one, { host: null, interface: null })];
    case 'drop':
      return [remove('port', one)];
    case 'device':
      return [create(kindOf(device), { name: device })];
    case 'dropDevice':
      return [remove(kindOf(device), device)];
    case 'zone':
      return [
        create('tunnel-zone', {
          name: `z${n}`,
          members: [{ host, address: `10.0.0.${n + 1}` }],
        }),
      ];
    case 'rename':
      return [change(one, { adminStateUp: n % 2 === 0 })];
    case 'together':
      return [
        create('bridge', { name: `t${n}` }),
        create('port', { name: `tp${n}`, bridge: `t${n}`, host, interface: `t${n}` }),
        create('port', { name: `tl${n}`, bridge: `t${n}`, ...(n % 2 === 0 && { peer: one }) }),
        // What is linked and what it is linked by may come at once, at either end first.
        port(`tq${n}`, device),
        create('port', { name: `tr${n}`, bridge: `t${n}`, peer: `tq${n}` }),
      ];
    case 'link':
      return [change(one, { peer: other })];
    case 'unlink':
      return [change(one, { peer: null })];
    case 'route':
      return [create('route', routeBody(a, b, n))];
    case 'dropRoute':
      return [remove('route', `rt${a}`)];
    case 'filter':
      return [filter(a, b, n)];
    case 'rule':
      return [create('rule', ruleBody(a, b, n))];
    case 'place':
      return [update('rule', `ru${a}`, { position: b + 1, ...(n % 2 === 0 && { jump: null }) })];
    case 'dropRule':
      return [remove('rule', `ru${a}`)];
    case 'member':
      return n % 2 === 0
        ? [update('port-group', 'pg', { ports: a === b ? [one] : [one, other] })]
        : [update('address-group', 'ag', { addresses: [`10.0.0.${a}`, `10.${b}.0.0/16`] })];
    case 'dropChain':
      return [remove('chain', CHAINS[b % CHAINS.length] ?? '')];
    case 'locate':
      return [];
  }
}

/** A chain in front of a port or device, or none. */
function filter(a: number, b: number, n: number): Operation {
  const chain = n % 4 === 0 ? null : (CHAINS[b % CHAINS.length] ?? '');
  const field = n % 3 === 0 ? 'outboundFilter' : 'inboundFilter';
  if (n % 2 === 0) return change(`p${a}`, { [field]: chain });
  const device = DEVICES[a % DEVICES.length] ?? '';
  return update(kindOf(device), device, { [field]: chain });
}

/** A rule that names nothing, another chain, or a group. */
function ruleBody(a: number, b: number, n: number): Record<string, unknown> {
  const body = { name: `ru${a}`, chain: CHAINS[b % CHAINS.length] ?? '', action: 'accept' };
  const to = CHAINS[n % CHAINS.length] ?? '';
  const others = [
    { action: 'jump', jump: to },
    { sourceGroup: 'ag' },
    { inPortGroup: 'pg', not: ['inPortGroup'] },
    { inPorts: [`p${a}`] },
    {},
  ];
  return { ...body, ...others[(a + n) % others.length] };
}

function routeBody(a: number, b: number, n: number): Record<string, unknown> {
  const router = `r${b % 2}`;
  const body = { name: `rt${a}`, router, destination: `10.${n}.0.0/16` };
  return n % 2 === 0 ? { ...body, type: 'reject' } : { ...body, port: `p${b % 2 === 0 ? 3 : 4}` };
}
