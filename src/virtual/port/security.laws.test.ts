/**
 * The laws of port security, on random ports and frames: nothing with a foreign source or claim
 * leaves a secured port, everything else does, and nobody else of the bridge gets what it has.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeFrame, encodeFrame, type Frame, type Layers } from '#net/frame.ts';
import { formatIp, isMulticastIp, linkLocalOf, type Ip, type Ip4, type Ip6 } from '#net/ip.ts';
import { BROADCAST, formatMac, isGroup, isReservedGroup, readMac, type Mac } from '#net/mac.ts';
import { linkAddressOption } from '#net/packet/icmp6.ts';
import { contains, parsePrefix } from '#net/prefix.ts';
import { Network } from '../network.fixture.ts';
import { IP4S, IP6S, IPS, MACS, packets } from '../packet.arbitrary.ts';
import { SECURITY } from './security.fixture.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 20_000);
const one = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

interface Pair {
  readonly mac?: string | undefined;
  readonly ip?: string | undefined;
}
interface Own {
  readonly addresses: readonly (Pair & { readonly mac: string })[];
  readonly allowedAddresses: readonly Pair[];
}

const macs = MACS.slice(0, 3).map(formatMac);
const ips = IPS.map(formatIp);
const own = (at: readonly string[], of: readonly string[]): fc.Arbitrary<Own> =>
  fc.record({
    addresses: fc.uniqueArray(
      fc.record({ mac: one(...at), ip: one<string | undefined>(...of, undefined) }),
      { minLength: 1, maxLength: 3, selector: ({ mac, ip }) => ip ?? mac },
    ),
    allowedAddresses: fc.array(
      fc.record({
        ip: one(...ips, '10.0.0.0/30', '0.0.0.0/0', 'fd00::/64', '::/0', 'fe80::/64'),
        mac: one(undefined, ...macs),
      }),
      { maxLength: 3 },
    ),
  });

/** a is secured, b as well or not, c never; none of b's or c's seeds is one of a's. */
const worlds = fc
  .record({
    a: own(macs.slice(0, 2), ips.slice(0, 7)),
    b: own(macs.slice(2), ips.slice(7)),
    security: one('on', 'off'),
  })
  .map(({ a, b, security }) => {
    const net = new Network()
      .bridge('b0')
      .router('r0')
      .bridgePort('a', 'b0', { ...a, security: 'on' })
      .bridgePort('b', 'b0', { ...b, security })
      .bridgePort('c', 'b0')
      .bridgePort('b0-r0', 'b0')
      .routerPort('r0-b0', 'r0', 0x11, '10.0.0.254/24', 'fd00::254/64')
      .link('b0-r0', 'r0-b0');
    return { net, a, b, security };
  });

const ethernet = fc.record({
  src: one(...MACS.slice(0, 3)),
  dst: one(...MACS.slice(0, 3), 0x020000000011 as Mac, BROADCAST),
  tci: one(undefined, undefined, 5),
});
const local = one(...MACS.slice(0, 3).map(linkLocalOf), ...IP6S);
/** Messages that tell neighbours something, and what servers and routers say; all well-formed. */
const layers: fc.Arbitrary<Layers> = fc.oneof(
  fc
    .record({
      ethernet,
      type: one(135 as const, 136 as const),
      src: fc.oneof(local, one('0'.repeat(32) as Ip6)),
      dst: one(...IP6S),
      target: local,
      links: fc.array(fc.tuple(one(1, 2), one(...MACS.slice(0, 3))), { maxLength: 2 }),
    })
    .map(({ ethernet: header, type, src, dst, target, links }) => ({
      ethernet: header,
      network: { kind: 'ipv6' as const, src, dst, hopLimit: 255 },
      transport: {
        kind: 'neighbour' as const,
        type,
        flags: 0,
        target,
        options: links.map(([kind, mac]) => linkAddressOption(kind, mac)),
      },
    })),
  fc
    .record({
      ethernet,
      operation: one(1, 2),
      senderMac: one(...MACS.slice(0, 3)),
      senderIp: one(...IP4S, 0 as Ip4),
      targetIp: one(...IP4S),
    })
    .map(({ ethernet: header, ...told }) => ({
      ethernet: header,
      network: { kind: 'arp' as const, targetMac: 0 as Mac, ...told },
    })),
  fc
    .record({
      ethernet,
      src: fc.oneof(local, one(...IP4S, 0 as Ip4)),
      broadcast: fc.boolean(),
      srcPort: one(67, 68, 546, 547, 9),
      dstPort: one(67, 68, 546, 547, 9),
      type: one(undefined, 133, 134, 137, 5, 9, 8, 128, 131, 143),
    })
    .map(({ ethernet: header, src, broadcast, srcPort, dstPort, type }): Layers => {
      const six = typeof src === 'string';
      const icmp = { type: type ?? 0, code: 0, id: 0, sequence: 0 };
      const transport =
        type === undefined
          ? ({ kind: 'udp', srcPort, dstPort } as const)
          : six
            ? ({ kind: 'icmp6', ...icmp } as const)
            : ({ kind: 'icmp', ...icmp } as const);
      const to4 = (broadcast ? 0xffffffff : IP4S[0]) as Ip4;
      return {
        ethernet: header,
        network: six
          ? { kind: 'ipv6', src, dst: IP6S[0] as Ip6, hopLimit: 255 }
          : { kind: 'ipv4', src, dst: to4, ttl: 64 },
        transport,
      };
    }),
);
const said = layers.map((each) => encodeFrame(each));
const any = fc.oneof(
  { weight: 2, arbitrary: said },
  packets.map(({ bytes }) => bytes),
);

/** Whether a MAC and an address go together at a port: every pair is looked at. */
function goes({ addresses, allowedAddresses }: Own, mac: Mac, ip: Ip): boolean {
  const [m, i] = [formatMac(mac), formatIp(ip)];
  const all: Pair[] = [...addresses];
  for (const pair of allowedAddresses)
    for (const each of pair.mac === undefined ? addresses : [pair])
      all.push({ mac: each.mac, ip: pair.ip });
  if (ip === 0 || i === '::' || isMulticastIp(ip)) return false;
  return all.some((pair) => {
    if (pair.mac !== m) return false;
    if (pair.ip === i || i === formatIp(linkLocalOf(mac))) return true;
    const prefix = parsePrefix(pair.ip ?? '');
    return prefix !== undefined && contains(prefix, ip);
  });
}
const hasMac = (all: Own, mac: Mac): boolean =>
  [...all.addresses, ...all.allowedAddresses].some((pair) => pair.mac === formatMac(mac));

type Claim = readonly [mac: Mac, ip: Ip];
/** What a frame claims; undefined: it says what no secured port may. */
function claims({ ethernet: { src }, network, transport, payload }: Frame): Claim[] | undefined {
  if (network === undefined) return undefined;
  if (network.kind === 'arp') {
    const { operation, senderMac, senderIp, targetIp } = network;
    if (operation !== 1 && operation !== 2) return undefined;
    return [[senderMac, senderIp === 0 && operation === 1 ? targetIp : senderIp]];
  }
  const six = network.kind === 'ipv6';
  if (transport?.kind === 'udp') {
    const { srcPort, dstPort } = transport;
    const [server, client] = six ? [547, 546] : [67, 68];
    if (dstPort === client || (dstPort === server && srcPort === server)) return undefined;
    const discovers = dstPort === server && srcPort === client;
    if (network.src === 0) return discovers && network.dst === 0xffffffff ? [] : undefined;
  }
  if (transport?.kind === 'neighbour') {
    const { type, target, options } = transport;
    const from = network.src as Ip6;
    const tells = options.filter((option) => option.type === 1 || option.type === 2);
    if (type === 136 || formatIp(from) !== '::') {
      const ip = type === 136 ? target : from;
      const at = tells.length > 0 ? tells.map(({ body }) => readMac(body, 0)) : [src];
      return [[src, from], ...at.map((mac): Claim => [mac, ip])];
    }
    return tells.length > 0 ? undefined : [[src, target]];
  }
  const type = transport !== undefined && 'type' in transport ? transport.type : undefined;
  if (six && (type === 134 || type === 137)) return undefined;
  if (!six && transport?.kind === 'icmp' && (type === 5 || type === 9)) return undefined;
  if (six && formatIp(network.src) === '::')
    return [131, 143, 133].includes(type ?? 0) && payload.length === 0 ? [] : undefined;
  return [[src, network.src]];
}

test('nothing with a foreign source or claim leaves a secured port', (t) => {
  const count = { foreign: 0, legal: 0 };
  const law = fc.property(worlds, any, ({ net, a }, bytes) => {
    const frame = decodeFrame(bytes) ?? assert.fail();
    const outcome = net.send('a', bytes);
    const made = claims(frame);
    const { src } = frame.ethernet;
    if (made !== undefined && hasMac(a, src) && made.every(([mac, ip]) => goes(a, mac, ip))) {
      count.legal++;
      return;
    }
    count.foreign++;
    assert.equal(outcome.verdict.kind, 'drop');
    assert.deepEqual([outcome.claims, outcome.sends, outcome.tells], [[], [], []]);
  });
  fc.assert(law, { seed, numRuns });
  t.diagnostic(JSON.stringify(count));
  assert(count.foreign > numRuns / 4 && count.legal > numRuns / 20, JSON.stringify(count));
});

test('what is the port’s own leaves it, where no other port has it', (t) => {
  let legal = 0;
  const law = fc.property(worlds, said, ({ net, a }, bytes) => {
    net.remove('port', 'b');
    const frame = decodeFrame(bytes) ?? assert.fail();
    const made = claims(frame);
    if (made === undefined || !hasMac(a, frame.ethernet.src)) return;
    if (!made.every(([mac, ip]) => goes(a, mac, ip))) return;
    legal++;
    const { verdict } = net.send('a', bytes);
    assert(verdict.kind !== 'drop' || !SECURITY.test(verdict.reason), JSON.stringify(verdict));
  });
  fc.assert(law, { seed, numRuns });
  t.diagnostic(`legal ${legal}`);
  assert(legal > numRuns / 20, `only ${legal}`);
});

test('an address secured at one port is neither learned, heard nor answered for another', (t) => {
  const count = { learned: 0, heard: 0, kept: 0 };
  const law = fc.property(worlds, any, one('b', 'c'), ({ net, a, b, security }, bytes, from) => {
    const { ethernet: header } = decodeFrame(bytes) ?? assert.fail();
    if (isGroup(header.src) || isReservedGroup(header.dst)) return;
    const outcome = net.send(from, bytes);
    const secured = from === 'b' && security === 'on' ? b : undefined;
    // Of prefixes nobody is kept out.
    const has = ({ addresses, allowedAddresses }: Own, text: string): boolean =>
      [...addresses, ...allowedAddresses].some(({ ip }) => ip === text);
    const seeded = (ip: Ip): boolean =>
      from === 'b' && b.addresses.some((each) => each.ip === formatIp(ip));
    for (const claim of outcome.claims)
      if ('learn' in claim) {
        count.learned++;
        const { mac } = claim.learn;
        assert(
          !hasMac(a, mac) || (secured !== undefined && hasMac(secured, mac)),
          bytes.toString(),
        );
      } else {
        count.heard++;
        const { ip } = claim.hear;
        const also = secured !== undefined && has(secured, formatIp(ip));
        assert(!has(a, formatIp(ip)) || also || seeded(ip), formatIp(ip));
      }
    const { verdict } = outcome;
    if (verdict.kind === 'drop' && SECURITY.test(verdict.reason)) count.kept++;
    for (const { frame } of outcome.sends) {
      const { network } = decodeFrame(frame) ?? assert.fail();
      if (network?.kind !== 'arp') continue;
      const owner = a.addresses.find(({ ip }) => ip === formatIp(network.senderIp));
      if (owner !== undefined) assert.equal(formatMac(network.senderMac), owner.mac);
    }
  });
  fc.assert(law, { seed, numRuns });
  t.diagnostic(JSON.stringify(count));
  assert(count.learned > numRuns / 20 && count.heard > numRuns / 500, JSON.stringify(count));
  assert(count.kept > numRuns / 10, JSON.stringify(count));
});
