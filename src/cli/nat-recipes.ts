/**
 * What clouds ask of a tenant's router, as ordinary rules: one public address for all that leaves,
 * floating addresses, and ways back for who is reached through its own router. What is built here
 * is listed, changed and deleted like every rule.
 *
 * Two chains: one asked when packets enter the router, one when they leave it. Every rule goes on
 * with `return`, so that the chains can be jumped to from a firewall of the router. Places in them:
 * floating addresses first, since who has one is not behind the shared address.
 */
import type { Operation } from '#client/types.ts';
import { isIp6, parseIp } from '#net/ip.ts';
import { bitsOf } from '#net/prefix.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { UsageError } from './io.ts';

export type RouterRow = ObjectOf<'router'>;
export type PortRow = ObjectOf<'port'> & { readonly type: 'router' };
export type RuleRow = ObjectOf<'rule'>;
export type ChainRow = ObjectOf<'chain'>;

/** By which rules of a recipe are found again. */
export const LABEL = { gateway: 'nat=gateway', floating: 'nat=floating-ip' } as const;
/** Where rules stand. Floating addresses take the next free place of theirs. */
const AT = {
  forwards: 100,
  sameSubnet: 1_000,
  inside: 2_000,
  floating: 10_000,
  floatingInside: 300_000,
  shared: 600_000,
  rewritten: 600_100,
  rest: 900_000,
} as const;
const STEP = 10;

export const chainNames = (router: string): { readonly in: string; readonly out: string } => ({
  in: `${router}-nat-in`,
  out: `${router}-nat-out`,
});

const hostPrefix = (text: string): string => {
  const ip = parseIp(text);
  if (ip === undefined) throw new UsageError(`${text}: must be an IPv4 or IPv6 address`);
  return `${text}/${bitsOf(ip)}`;
};
const isSix = (text: string): boolean => {
  const ip = parseIp(text.split('/')[0] ?? '');
  return ip !== undefined && isIp6(ip);
};
const addressOf = (network: string): string => network.split('/')[0] ?? '';
/** The first of a port's own addresses, of one family. */
const ownAddress = ({ networks }: PortRow, six: boolean): string | undefined =>
  networks.map(addressOf).find((address) => isSix(address) === six);

export interface Gateway {
  readonly router: RouterRow;
  /** Its way out. */
  readonly port: PortRow;
  /** Its other ports. */
  readonly inside: readonly PortRow[];
  /** Where sources are translated to; none: the port's own first address. */
  readonly addresses: readonly string[];
}

type Body = Readonly<Record<string, unknown>>;
const create = (kind: 'chain' | 'rule', body: Body): Operation => ({ op: 'create', kind, body });

/** The rules of a router whose tenant leaves by one address. */
function gatewayRules({ router, port, inside, addresses }: Gateway): Operation[] {
  const chains = chainNames(router.name);
  const rule = (chain: 'in' | 'out', name: string, body: Body): Operation =>
    create('rule', { chain: chains[chain], name, labels: [LABEL.gateway], ...body });
  const after = 'return';
  const operations: Operation[] = [];
  const out = { outPorts: [port.id] };
  operations.push(
    rule('out', 'forwards', { position: AT.forwards, action: 'reverse-dnat', after }),
  );
  for (const [i, own] of inside.entries())
    for (const network of own.networks) {
      const [address, six] = [addressOf(network), isSix(network)];
      const place = i * STEP + (six ? STEP / 2 : 0);
      const to = { destination: hostPrefix(address) };
      operations.push(
        rule('in', 'same-subnet-back', {
          ...{ position: AT.sameSubnet + place, action: 'reverse-snat', after },
          ...{ inPorts: [own.id], ...to },
        }),
        rule('out', 'same-subnet', {
          ...{ position: AT.sameSubnet + place, action: 'snat', after },
          ...{ inPorts: [own.id], outPorts: [own.id], targets: [address] },
          ...{ destinationRewritten: false },
          ...{ source: six ? '::/0' : '0.0.0.0/0' },
        }),
      );
    }
  operations.push(
    // What stays inside, and is for whom it was sent to, keeps its source.
    rule('out', 'inside', {
      ...{ position: AT.inside, action: 'return', not: ['outPorts'], ...out },
      destinationRewritten: false,
    }),
    // What came from outside keeps its source, too.
    rule('out', 'from-outside', {
      ...{ position: AT.inside + STEP, action: 'return', not: ['outPorts'], ...out },
      inPorts: [port.id],
    }),
  );
  for (const [i, address] of addresses.entries())
    operations.push(
      rule('in', 'shared-back', {
        ...{ position: AT.shared + i * STEP, action: 'reverse-snat', after },
        destination: hostPrefix(address),
      }),
    );
  for (const six of [false, true]) {
    const targets = addresses.filter((address) => isSix(address) === six);
    if (targets.length === 0) continue;
    const place = six ? STEP : 0;
    const of = { source: six ? '::/0' : '0.0.0.0/0', targets };
    operations.push(
      rule('out', 'shared', { position: AT.shared + place, action: 'snat', after, ...out, ...of }),
      rule('out', 'rewritten', {
        ...{ position: AT.rewritten + place, action: 'snat', after, ...of },
        destinationRewritten: true,
      }),
    );
  }
  operations.push(rule('out', 'rest', { position: AT.rest, action: 'drop', ...out }));
  return operations;
}

/** The addresses that a port answers for, with these too. */
export const withAddresses = (port: PortRow, addresses: readonly string[]): readonly string[] => {
  const own = new Set(port.networks.map(addressOf));
  return [...port.networks, ...addresses.filter((address) => !own.has(address)).map(hostPrefix)];
};

/** How the two chains come to be asked: as the router's filters, or first and last in what is. */
export function attach(router: RouterRow, rules: readonly RuleRow[]): Operation[] {
  const chains = chainNames(router.name);
  const fields: Record<string, string> = {};
  const jumps: Operation[] = [];
  for (const [field, chain] of [
    ['inboundFilter', chains.in],
    ['outboundFilter', chains.out],
  ] as const) {
    const filter = router[field];
    if (filter === undefined) {
      fields[field] = chain;
      continue;
    }
    const jump = {
      chain: filter,
      action: 'jump',
      jump: chain,
      labels: [LABEL.gateway],
      name: 'nat',
    };
    const first = rules
      .filter((rule) => rule.chain === filter)
      .reduce((least, { position = 0 }) => Math.min(least, position), Infinity);
    if (field === 'inboundFilter' && first <= 1)
      throw new UsageError(
        `the filter of ${router.name} has no room before its first rule: move that to a later --position`,
      );
    const before = first === Infinity ? {} : { position: Math.floor(first / 2) };
    jumps.push(create('rule', { ...jump, ...(field === 'inboundFilter' && before) }));
  }
  const update: Operation[] =
    Object.keys(fields).length === 0
      ? []
      : [{ op: 'update', kind: 'router', id: router.id, body: fields }];
  return [...update, ...jumps];
}

/** Everything that gives a router a way out with one address for all. */
export function gatewayOperations(gateway: Gateway, rules: readonly RuleRow[]): Operation[] {
  const { router, port } = gateway;
  const chains = chainNames(router.name);
  const families = [false, true].flatMap((six) => ownAddress(port, six) ?? []);
  const addresses = gateway.addresses.length > 0 ? gateway.addresses : families;
  if (addresses.length === 0)
    throw new UsageError(`port ${port.name} has no address: give it --networks, or say --address`);
  const tenant = router.tenant === undefined ? {} : { tenant: router.tenant };
  const networks = withAddresses(port, addresses);
  return [
    create('chain', { name: chains.in, labels: [LABEL.gateway], ...tenant }),
    create('chain', { name: chains.out, labels: [LABEL.gateway], ...tenant }),
    ...gatewayRules({ ...gateway, addresses }),
    ...(networks.length === port.networks.length
      ? []
      : [{ op: 'update', kind: 'port', id: port.id, body: { networks } } as const]),
    ...attach(router, rules),
  ];
}

/** What takes that away again: jumps, filters, rules and chains. */
export function removal(router: RouterRow, own: readonly ChainRow[], rules: readonly RuleRow[]) {
  const ids = new Set<string>(own.map(({ id }) => id));
  const filters = (['inboundFilter', 'outboundFilter'] as const).filter((field) =>
    ids.has(router[field] ?? ''),
  );
  const operations: Operation[] = [];
  if (filters.length > 0) {
    const body = Object.fromEntries(filters.map((field) => [field, null]));
    operations.push({ op: 'update', kind: 'router', id: router.id, body });
  }
  for (const { id, jump } of rules)
    if (jump !== undefined && ids.has(jump)) operations.push({ op: 'delete', kind: 'rule', id });
  for (const { id } of own) operations.push({ op: 'delete', kind: 'chain', id });
  return operations;
}

/** The first free place from one on. */
function placeFrom(rules: readonly RuleRow[], chain: string, from: number): number {
  const taken = new Set(rules.filter((rule) => rule.chain === chain).map((rule) => rule.position));
  let at = from;
  while (taken.has(at)) at += STEP;
  return at;
}

export interface Floating {
  readonly address: string;
  /** The address inside that it stands for. */
  readonly to: string;
  readonly port: PortRow;
  readonly chains: { readonly in: ChainRow; readonly out: ChainRow };
}

/** A floating address: one public address for one inside, both ways, also between those inside. */
export function floatingOperations(
  { address, to, port, chains }: Floating,
  rules: readonly RuleRow[],
): Operation[] {
  if (isSix(address) !== isSix(to))
    throw new UsageError(`--to ${to}: must be of the family of ${address}`);
  const common = { labels: [LABEL.floating], static: true, after: 'return', name: 'floating' };
  const inwards = { action: 'dnat', destination: hostPrefix(address), targets: [to] };
  const outwards = { action: 'snat', source: hostPrefix(to), targets: [address] };
  const networks = withAddresses(port, [address]);
  const [first, second] = [AT.floating, AT.floatingInside].map((from) =>
    placeFrom(rules, chains.out.id, from),
  );
  return [
    { op: 'update', kind: 'port', id: port.id, body: { networks } },
    create('rule', {
      ...{ chain: chains.in.id, position: placeFrom(rules, chains.in.id, AT.floating) },
      ...{ ...common, ...inwards },
    }),
    create('rule', {
      ...{ chain: chains.out.id, position: first, outPorts: [port.id] },
      ...{ ...common, ...outwards },
    }),
    create('rule', {
      ...{ chain: chains.out.id, position: second, destinationRewritten: true },
      ...{ ...common, ...outwards },
    }),
  ];
}

/** The rules of a floating address. */
export const rulesOf = (rules: readonly RuleRow[], address: string): readonly RuleRow[] =>
  rules.filter(
    ({ labels = [], destination, targets = [] }) =>
      labels.includes(LABEL.floating) &&
      (addressOf((destination as string | undefined) ?? '') === address ||
        targets.includes(address)),
  );

/** Takes a floating address away. */
export function floatingRemoval(
  address: string,
  port: PortRow | undefined,
  rules: readonly RuleRow[],
): Operation[] {
  const gone = rules.map(({ id }): Operation => ({ op: 'delete', kind: 'rule', id }));
  if (port === undefined) return gone;
  const networks = port.networks.filter((each) => each !== hostPrefix(address));
  return [...gone, { op: 'update', kind: 'port', id: port.id, body: { networks } }];
}
