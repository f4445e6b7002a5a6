/** Tags over tags: which destinations a change of routes covers, bit by bit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIp6, parseIp, UNSPECIFIED4, type Ip, type Ip4, type Ip6 } from '#net/ip.ts';
import { bitsOf, parsePrefix, type Prefix } from '#net/prefix.ts';
import type { BridgeId, PortId } from './ids.ts';
import { covers, destinationOf, destinationTag, routesOf, routesTag } from './tags.ts';
import { portTag, seededIpTag, type Tag } from './tags.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 5000);
const R = '00000000-0000-4000-8000-000000000001';
const OTHER = '00000000-0000-4000-8000-000000000002';
const ip = (text: string): Ip => parseIp(text) ?? UNSPECIFIED4;
const prefix = (text: string): Prefix =>
  parsePrefix(text) ?? { address: UNSPECIFIED4, length: Number.NaN };

test('the text of the tags', () => {
  assert.deepEqual(
    [
      destinationTag(R, ip('10.0.0.1')),
      destinationTag(R, ip('fd00::1')),
      routesTag(R),
      routesTag(R, prefix('10.0.0.0/8')),
      routesTag(R, { address: ip('10.1.2.3'), length: 8 }),
      routesTag(R, prefix('fd00::/16')),
      routesTag(R, prefix('::/0')),
    ],
    [
      `to/${R}/167772161`,
      `to/${R}/fd000000000000000000000000000001`,
      `routes/${R}`,
      `routes/${R}/167772160/8`,
      `routes/${R}/167772160/8`,
      `routes/${R}/fd000000000000000000000000000000/16`,
      `routes/${R}/00000000000000000000000000000000/0`,
    ],
  );
});

test('a prefix covers what is inside, of its router and family', () => {
  const to = (text: string, router = R): Tag => destinationTag(router, ip(text));
  const cases: readonly (readonly [changed: Tag, held: Tag, covered: boolean])[] = [
    [routesTag(R, prefix('10.0.0.0/9')), to('10.127.255.255'), true],
    [routesTag(R, prefix('10.0.0.0/9')), to('10.128.0.0'), false],
    [routesTag(R, prefix('10.0.0.2/31')), to('10.0.0.3'), true],
    [routesTag(R, prefix('10.0.0.2/31')), to('10.0.0.4'), false],
    [routesTag(R, prefix('10.0.0.2/32')), to('10.0.0.2'), true],
    [routesTag(R, prefix('10.0.0.2/32')), to('10.0.0.3'), false],
    [routesTag(R, prefix('0.0.0.0/0')), to('255.255.255.255'), true],
    [routesTag(R, prefix('0.0.0.0/0')), to('::'), false],
    [routesTag(R, prefix('::/0')), to('0.0.0.0'), false],
    [routesTag(R, prefix('::/0')), to('ffff::'), true],
    [routesTag(R, prefix('fd00::/17')), to('fd00:7fff::'), true],
    [routesTag(R, prefix('fd00::/17')), to('fd00:8000::'), false],
    [routesTag(R, prefix('fd00::2/127')), to('fd00::3'), true],
    [routesTag(R, prefix('fd00::2/128')), to('fd00::3'), false],
    [routesTag(R), to('10.0.0.1'), true],
    [routesTag(R), to('fd00::1'), true],
    [routesTag(R), to('fd00::1', OTHER), false],
    [routesTag(R, prefix('0.0.0.0/0')), to('10.0.0.1', OTHER), false],
    [to('10.0.0.1'), to('10.0.0.1'), true],
    [to('10.0.0.1'), to('10.0.0.2'), false],
    [to('10.0.0.1'), routesTag(R), false],
    [routesTag(R), routesTag(R), true],
    [routesTag(R), routesTag(R, prefix('10.0.0.0/8')), false],
    [routesTag(R), portTag(R as PortId), false],
    [routesTag(R), seededIpTag(R as BridgeId, ip('10.0.0.1')), false],
    [portTag(R as PortId), portTag(R as PortId), true],
    [portTag(R as PortId), portTag(OTHER as PortId), false],
  ];
  for (const [changed, held, covered] of cases)
    assert.equal(covers(changed, held), covered, `${changed} over ${held}`);
});

test('other tags are neither routes nor destinations', () => {
  for (const tag of [portTag(R as PortId), seededIpTag(R as BridgeId, ip('10.0.0.1'))])
    assert.deepEqual([destinationOf(tag), routesOf(tag)], [undefined, undefined]);
  assert.equal(destinationOf(routesTag(R)), undefined);
  assert.equal(routesOf(destinationTag(R, ip('10.0.0.1'))), undefined);
});

/** All bits as a text: slow and obvious. */
const bits = (of: Ip): string =>
  isIp6(of) ? BigInt(`0x${of}`).toString(2).padStart(128, '0') : of.toString(2).padStart(32, '0');
/** An address and one that differs from it in few bits, so that prefixes end near them. */
const flip = (of: Ip, at: number): Ip => {
  const all = bits(of);
  const place = at % all.length;
  const flipped = `${all.slice(0, place)}${all[place] === '0' ? '1' : '0'}${all.slice(place + 1)}`;
  const value = BigInt(`0b${flipped}`);
  return isIp6(of) ? (value.toString(16).padStart(32, '0') as Ip6) : (Number(value) as Ip4);
};

test('covers compares as many bits as the prefix has', () => {
  const addresses: fc.Arbitrary<Ip> = fc.oneof(
    fc.nat(0xffffffff).map((n) => n as Ip4),
    fc
      .bigInt({ min: 0n, max: 2n ** 128n - 1n })
      .map((n) => n.toString(16).padStart(32, '0') as Ip6),
  );
  fc.assert(
    fc.property(addresses, fc.nat(127), fc.nat(128), fc.boolean(), (address, at, most, far) => {
      const held = flip(address, at);
      const length = far
        ? most % (bitsOf(address) + 1)
        : Math.min(bitsOf(address), (at % bitsOf(address)) + (most % 3));
      const expected = bits(held).startsWith(bits(address).slice(0, length));
      const changed = routesTag(R, { address, length });
      assert.equal(covers(changed, destinationTag(R, held)), expected);
      assert.equal(covers(changed, destinationTag(R, address)), true);
      assert.equal(covers(changed, destinationTag(OTHER, address)), false);
      assert.equal(covers(routesTag(R), destinationTag(R, held)), true);
      assert.deepEqual(destinationOf(destinationTag(R, held)), { router: R, ip: held });
    }),
    { seed, numRuns },
  );
});
