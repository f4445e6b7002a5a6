/**
 * Act: everybody of a tenant reaches everybody else of it, and the underlay sees one hop for it.
 */
import { readIp4, formatIp4 } from '#net/ip.ts';
import { machineOf, TUNNEL_UDP_PORT } from '../names.ts';
import { eachAtOnce, ping } from '../ping.ts';
import { markOf } from '../probes.ts';
import { Stage } from '../stage.ts';
import { type Act, hostOf, KIND, knowNeighbours, tapCable } from './act.ts';

/**
 * Offsets in an untagged Ethernet frame with an IPv4 header without options, and UDP (RFC 791, RFC
 * 768).
 */
const AT = { ipSource: 26, ipDestination: 30, udpDestination: 36 } as const;
/** The largest echo payload in a packet of 1500 bytes. */
const FULL_PAYLOAD = 1472;

export async function reach(act: Act): Promise<void> {
  const { cast, report } = act;
  const friends = cast.pairs(true);
  const strangers = cast.pairs(false);
  const heard = await hello(act);
  const reached = (pairs: typeof friends): number =>
    pairs.filter(([a, b]) => heard.has(`${a}>${b}`)).length;
  report.equal(
    reached(friends),
    friends.length,
    `a broadcast reaches all of its network: ${friends.length} pairs`,
  );
  report.equal(reached(strangers), 0, `and nobody of another: ${strangers.length} pairs`);
  await pings(act, friends);
  await knowNeighbours(act);
  await oneHop(act, friends);
  await fullSize(act);
}

async function hello({ lab }: Act): Promise<ReadonlySet<string>> {
  using stage = new Stage(lab);
  return await stage.hello();
}

type Pairs = readonly (readonly [number, number])[];

async function pings({ lab, cast, report }: Act, friends: Pairs): Promise<void> {
  for (const family of [4, 6] as const) {
    const results = await eachAtOnce(friends, ([a, b]) =>
      ping(lab, cast.station(a).name, family === 4 ? cast.station(b).ip4 : cast.station(b).ip6),
    );
    const lost = friends
      .filter((_, i) => results[i]?.received !== 1)
      .map(([a, b]) => `${cast.station(a).name} > ${cast.station(b).name}`);
    const how = family === 4 ? 'IPv4 and ARP' : 'IPv6 and neighbour discovery';
    report.none(lost, `ping reaches all of its network: ${friends.length} pairs, ${how}`);
  }
}

/** Pings that carry a mark, with every cable of the underlay tapped. */
export async function oneHop(act: Act, friends: Pairs): Promise<void> {
  const { lab, cast, report } = act;
  using taps = new DisposableStack();
  const cables = lab.recipe.hosts.map((host) => ({ host, tap: taps.use(tapCable(lab, host)) }));
  await eachAtOnce(friends, async ([from, to]) => {
    const mark = { from, to };
    const { name } = cast.station(from);
    await ping(lab, name, cast.station(to).ip4, { mark: { ...mark, kind: KIND.ping4 } });
    await ping(lab, name, cast.station(to).ip6, { mark: { ...mark, kind: KIND.ping6 } });
  });
  const seen = new Map<string, string[]>();
  for (const { host, tap } of cables)
    for (const { frame, outgoing } of tap.drain()) {
      const mark = markOf(frame);
      if (mark === undefined) continue;
      const key = `${mark.kind}/${mark.from}/${mark.to}`;
      const crossing = `${outgoing ? 'into' : 'from'} ${host} ${outerOf(frame)}`;
      seen.set(key, [...(seen.get(key) ?? []), crossing]);
    }
  const wrong: { far: string[]; near: string[] } = { far: [], near: [] };
  const count = { far: 0, near: 0 };
  for (const [from, to] of friends)
    for (const kind of [KIND.ping4, KIND.ping6]) {
      const [one, other] = [cast.station(from).name, cast.station(to).name];
      const [a, b] = [hostOf(lab, one), hostOf(lab, other)];
      const where = a === b ? 'near' : 'far';
      const expected = a === b ? [] : [...hop(act, a, b), ...hop(act, b, a)];
      const actual = seen.get(`${kind}/${from}/${to}`) ?? [];
      count[where]++;
      if (expected.toSorted().join() !== actual.toSorted().join())
        wrong[where].push(`${one} > ${other}: ${actual.join(', ') || 'nothing seen'}`);
    }
  report.none(
    wrong.far,
    `${count.far} pings between hosts cross the underlay once each way, host to host`,
  );
  if (count.near > 0) report.none(wrong.near, `${count.near} pings within a host do not touch it`);
}

/** What one packet from one host to another leaves on the taps. */
function hop({ lab }: Act, from: string, to: string): string[] {
  const [source, target] = [machineOf(lab.recipe, from), machineOf(lab.recipe, to)];
  const outer = `${source.address} > ${target.address}:${TUNNEL_UDP_PORT}`;
  return [`from ${from} ${outer}`, `into ${to} ${outer}`];
}

function outerOf(frame: Uint8Array): string {
  const port = ((frame[AT.udpDestination] ?? 0) << 8) | (frame[AT.udpDestination + 1] ?? 0);
  const [from, to] = [AT.ipSource, AT.ipDestination].map((at) => formatIp4(readIp4(frame, at)));
  return `${from} > ${to}:${port}`;
}

async function fullSize({ lab, cast, report }: Act): Promise<void> {
  const pair = cast
    .pairs(true)
    .find(([a, b]) => hostOf(lab, cast.station(a).name) !== hostOf(lab, cast.station(b).name));
  if (pair === undefined) return;
  const [from, to] = [cast.station(pair[0]), cast.station(pair[1])];
  const { received } = await ping(lab, from.name, to.ip4, { payloadBytes: FULL_PAYLOAD });
  report.equal(received, 1, 'a full packet of 1500 bytes crosses the underlay in one piece');
}
