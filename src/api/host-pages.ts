/**
 * Lists that agents have by slots, asked of host after host in pages.
 *
 * Invariants: a host that does not answer is named with why (to tenants: that there is one), and
 * never left out in silence; a tenant's question names the ports it sees, and no host is asked of
 * others for it; nothing is answered from what agents answered before.
 */
import type { Ask, PartOf } from '#client/asks.ts';
import { type MissingHost, PORTS_PER_ASK_MAX } from '#client/flows.ts';
import type { PortId } from '#virtual/ids.ts';
import { type Reader, titleOf } from './flow-rows.ts';
import { find, PAGE_LIMIT } from './lists.ts';
import type { Node } from './node.ts';
import { refuseField } from './problems.ts';
import { type Call, integerOf } from './route.ts';

/** Hosts asked at a time for one page: what is beyond its limit is asked for in vain. */
const HOSTS_AT_ONCE = 8;

/** A host to be asked, and the ports that the caller wants to know of; undefined: of all. */
export interface Asked {
  readonly host: string;
  readonly ports?: readonly string[];
}
interface Place {
  readonly host: string;
  readonly slot: number;
}
/** What every question for a page says. */
export interface PageAsk {
  readonly limit: number;
  /** The slot behind which it goes on; -1: from the start. */
  readonly after: number;
  readonly ports?: string[];
}

export interface Page<Row> {
  readonly revision: number;
  readonly items: readonly Row[];
  readonly missing: readonly MissingHost[];
  readonly next?: string;
}

const encode = ({ host, slot }: Place): string =>
  Buffer.from(JSON.stringify([host, slot])).toString('base64url');
function placeOf(text: string | null): Place | undefined {
  if (text === null) return undefined;
  try {
    const place: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (Array.isArray(place) && typeof place[0] === 'string' && Number.isInteger(place[1]))
      return { host: place[0], slot: place[1] as number };
  } catch {
    // Not ours: refused below.
  }
  throw refuseField('after', 'must be the `next` of an earlier page');
}

function limitOf(query: URLSearchParams, most: number): number {
  const limit = integerOf(query, 'limit', Math.min(PAGE_LIMIT, most));
  if (limit >= 1 && limit <= most) return limit;
  throw refuseField('limit', `must be a number from 1 to ${most}`);
}

/** How a host is called in what the caller is told. */
export const hostWord = ({ topology, operator }: Reader, host: string): string =>
  operator ? titleOf(topology, 'host', host) : 'a host';

/** Ports that the caller sees, by the host that carries them. */
export function portsByHost({ topology, sees }: Reader): Asked[] {
  const ports = new Map<string, string[]>();
  for (const port of topology.list('port')) {
    const host = topology.location(port.id as PortId)?.host;
    if (host === undefined || !sees('port', port)) continue;
    ports.getOrInsertComputed(host, () => []).push(port.id);
  }
  for (const own of ports.values())
    if (own.length > PORTS_PER_ASK_MAX)
      throw refuseField(
        'port',
        `must be given: more than ${PORTS_PER_ASK_MAX} ports are on a host`,
      );
  return [...ports].map(([host, own]) => ({ host, ports: own }));
}

/** Whom to ask for a list, by its query of `host` and `port`. */
function askedBy(query: URLSearchParams, reader: Reader): Asked[] {
  const { topology, operator, sees } = reader;
  const named = query.get('port');
  const wanted = query.get('host');
  if (wanted !== null && !operator)
    throw refuseField('host', 'is for operators: tenants ask by port');
  const host = wanted === null ? undefined : find(topology, 'host', wanted, sees).id;
  let asked: Asked[];
  if (named !== null) {
    const { id } = find(topology, 'port', named, sees);
    const at = topology.location(id as PortId)?.host;
    asked = at === undefined ? [] : [{ host: at, ports: [id] }];
  } else if (operator) asked = [...topology.list('host')].map(({ id }) => ({ host: id }));
  else asked = portsByHost(reader);
  return asked
    .filter((one) => host === undefined || one.host === host)
    .toSorted((a, b) => (a.host < b.host ? -1 : 1));
}

interface Answered<Part> {
  readonly host: string;
  readonly parts: readonly Part[];
  /** Of a host that did not answer. */
  readonly why?: string;
}

/** Asks hosts; of one that is dead says so at once. */
export async function askHosts<A extends Ask>(
  node: Node,
  { request, caller }: Call,
  asked: readonly { readonly host: string; readonly ask: A }[],
): Promise<Answered<PartOf<A['kind']>>[]> {
  const options = { signal: request.signal, caller: caller.id };
  const alive = asked.filter(({ host }) => !node.hosts.isDead(host));
  const answers = new Map(
    (await node.asks.each(alive, options)).map((answer) => [answer.host, answer]),
  );
  return asked.map(({ host }) => {
    const answer = answers.get(host);
    if (answer === undefined) return { host, parts: [], why: 'it is dead: nothing is heard of it' };
    if (answer.failed === undefined) return answer;
    return { host, parts: [], why: answer.failed.message };
  });
}

export interface Listed<A extends Ask, Row> {
  /** Rows of one page, at most. */
  readonly most: number;
  readonly ask: (of: PageAsk) => A;
  /** Undefined: none of the reader's business. */
  readonly rowOf: (host: string, part: PartOf<A['kind']>) => Row | undefined;
}

/** One page, by the query's `host`, `port`, `limit` and `after`. */
export async function pageOf<A extends Ask, Row>(
  node: Node,
  call: Call,
  reader: Reader,
  { most, ask, rowOf }: Listed<A, Row>,
): Promise<Page<Row>> {
  const { query } = call;
  const limit = limitOf(query, most);
  const from = placeOf(query.get('after'));
  const asked = askedBy(query, reader)
    .filter(({ host }) => from === undefined || host >= from.host)
    .map((one) => ({ ...one, after: one.host === from?.host ? from.slot : -1 }));
  const items: Row[] = [];
  const missing: MissingHost[] = [];
  let next: Place | undefined;
  for (let i = 0; i < asked.length && next === undefined; i += HOSTS_AT_ONCE) {
    const room = limit - items.length;
    const some = asked.slice(i, i + HOSTS_AT_ONCE).map(({ host, ports, after }) => {
      const of = ports === undefined ? {} : { ports: [...ports] };
      return { host, ask: ask({ limit: room, after, ...of }) };
    });
    for (const { host, parts, why } of await askHosts(node, call, some)) {
      if (next !== undefined) break;
      if (why !== undefined) missing.push({ host: hostWord(reader, host), why });
      for (const [n, part] of parts.entries()) {
        const row = rowOf(host, part);
        if (row !== undefined) items.push(row);
        const last = n + 1 === parts.length && parts.length < room && host === asked.at(-1)?.host;
        const whole = items.length === limit || n + 1 === room;
        if (!whole || last) continue;
        next = { host, slot: (part as { readonly slot: number }).slot };
        break;
      }
    }
  }
  const { revision } = reader.topology;
  return { revision, items, missing, ...(next !== undefined && { next: encode(next) }) };
}
