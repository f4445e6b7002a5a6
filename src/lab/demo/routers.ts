/**
 * Act: two virtual routers between two workloads on different hosts. A traceroute shows both, the
 * underlay sees one hop, the kernel carries all but the first packets, and a route that changes is
 * in force at once.
 */
import { parseFrameText } from '#net/text.ts';
import { pingFrom, tracerouteFrom, type Asker } from '../scenario-tools.ts';
import type { PingOutcome } from '../outcomes.ts';
import { ping } from '../ping.ts';
import { type Act, settled } from './act.ts';
import { oneHop } from './reach.ts';

const ENFORCE_MS = 10_000;
const PINGS = 200;
/** The routers on the way, each by the port that the packet comes in by. */
const HOPS = { 4: ['10.1.1.1', '10.1.0.2'], 6: ['fd01:1::1', 'fd01::2'] } as const;

export async function routers(act: Act, from: string, to: string): Promise<void> {
  const { lab, cast, report } = act;
  const pair = [cast.numberOf(from), cast.numberOf(to)] as const;
  const { ip4, ip6 } = cast.station(pair[1]);
  report.note(`${from} and ${to} are in two subnets; green-r1 and green-r2 are between them`);
  for (const address of [ip4, ip6]) {
    const { received } = await ping(lab, from, address);
    report.equal(received, 1, `ping reaches ${address}`);
  }
  const asker = askerOf(act, from);
  for (const [address, hops] of [
    [ip4, HOPS[4]],
    [ip6, HOPS[6]],
  ] as const) {
    const expected = [...hops, address];
    const shown = await tracerouteFrom(asker, address, expected);
    report.equal(shown.join(', '), expected.join(', '), `traceroute: ${expected.join(', ')}`);
  }
  await explain(act, from, ip4);
  await oneHop(act, [pair, [pair[1], pair[0]]]);
  await carriedByTheKernel(act, from, ip4);
  await routeChanges(act, asker, ip4);
}

const askerOf = ({ lab }: Act, name: string): Asker => ({
  lab: lab.name,
  name,
  addresses: lab.recipe.workloads[name]?.addresses ?? [],
});

/** The whole way, as the walk at the edge sees it. */
async function explain({ lab, report, cast }: Act, from: string, to: string): Promise<void> {
  const { mac, ip4 } = cast.station(cast.numberOf(from));
  const router = await lab.client.get('port', 'r1-a');
  const text = `udp ${ip4}:1000 > ${to}:2000`;
  const gateway = (router as unknown as { readonly mac: string }).mac;
  const frame = parseFrameText(`${mac} > ${gateway} ${text}`);
  if ('error' in frame) throw new Error(frame.error);
  const { lines, verdict } = await lab.client.trace({ port: from, frame: frame.toHex() });
  report.note(`$ mn trace ${from} "${text}"`);
  for (const line of lines) report.note(`  ${line}`);
  report.equal(verdict, 'forward', 'the trace goes through both routers');
}

async function carriedByTheKernel({ lab, report }: Act, from: string, to: string): Promise<void> {
  const before = await settled(lab);
  const { received, fastestMs } = await ping(lab, from, to, { count: PINGS });
  const after = await settled(lab);
  const upcalls = lab.recipe.hosts.reduce(
    (sum, host) => sum + (after.get(host)?.upcalls ?? 0) - (before.get(host)?.upcalls ?? 0),
    0,
  );
  const fastest = fastestMs === undefined ? '' : `, the fastest in ${fastestMs} ms`;
  report.equal(received, PINGS, `${PINGS} more pings are answered${fastest}`);
  // The workloads' kernels confirm their neighbours now and then: a question to the router each.
  report.check(
    upcalls < PINGS / 10,
    `of these ${2 * PINGS} packets the kernels carried all: ${upcalls} upcalls`,
    {
      expected: 'only ARP and neighbour discovery of the workloads themselves',
      actual: `${upcalls} upcalls`,
    },
  );
}

const said = (outcome: PingOutcome): string =>
  outcome.kind === 'error' ? `${outcome.what} from ${outcome.from}` : outcome.kind;

/** A route to one address that refuses it, then none. */
async function routeChanges({ lab, report }: Act, asker: Asker, to: string): Promise<void> {
  const { client } = lab;
  const asked = { address: to, df: false };
  const [router] = HOPS[4];
  const refused = `admin-prohibited from ${router}`;
  const body = { router: 'green-r1', destination: `${to}/32`, type: 'reject', name: 'no-way' };
  const { revision } = await client.create('route', body);
  await client.wait(revision, ENFORCE_MS);
  report.note(`$ mn route create --router green-r1 --destination ${to}/32 --type reject --wait`);
  report.equal(said(await pingFrom(asker, asked, [refused])), refused, `the next ping: ${refused}`);
  const gone = await client.remove('route', 'no-way');
  await client.wait(gone.revision, ENFORCE_MS);
  report.note('$ mn route delete no-way --wait');
  report.equal(said(await pingFrom(asker, asked, ['reply'])), 'reply', 'and the next is answered');
}
