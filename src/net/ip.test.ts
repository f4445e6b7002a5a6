/** Text and bytes of IP addresses, checked against the platform's own parser. */
import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { ip4s, ip6s, ips, macs, runs } from './arbitraries.test.ts';
import {
  ALL_NODES6,
  formatIp,
  formatIp4,
  formatIp6,
  isIp6,
  isLinkLocalIp,
  isLoopbackIp,
  isMulticastIp,
  isUnspecifiedIp,
  linkLocalOf,
  multicastMac,
  namesOneHost,
  parseIp,
  parseIp4,
  parseIp6,
  readIp4,
  readIp6,
  solicitedNode,
  writeIp4,
  writeIp6,
  type Ip,
  type Ip6,
} from './ip.ts';
import { formatMac, parseMac, type Mac } from './mac.ts';

const ip = (text: string): Ip => {
  const parsed = parseIp(text);
  assert.notEqual(parsed, undefined, text);
  return parsed ?? (0 as Ip);
};
const ip6 = (text: string): Ip6 => {
  const parsed = ip(text);
  assert.ok(isIp6(parsed), text);
  return parsed;
};

test('parse(format(x)) = x', () => {
  fc.assert(
    fc.property(ips, (address) => {
      const text = formatIp(address);
      assert.equal(parseIp(text), address);
      assert.ok(isIp6(address) ? isIPv6(text) : isIPv4(text), text);
      assert.equal(formatIp(ip(text)), text);
    }),
    runs(5000),
  );
});

test('read(write(x)) = x, in network order and nothing beside it', () => {
  const bytes = new Uint8Array(18);
  fc.assert(
    fc.property(ip4s, ip6s, (v4, v6) => {
      bytes.fill(0xee);
      writeIp4(bytes, 1, v4);
      assert.equal(readIp4(bytes, 1), v4);
      assert.equal(formatIp4(v4), bytes.subarray(1, 5).join('.'));
      assert.deepEqual([bytes[0], bytes[5]], [0xee, 0xee]);
      writeIp6(bytes, 1, v6);
      assert.equal(readIp6(bytes, 1), v6);
      assert.equal(Buffer.from(bytes.subarray(1, 17)).toString('hex'), v6);
      assert.deepEqual([bytes[0], bytes[17]], [0xee, 0xee]);
    }),
    runs(2000),
  );
});

test('accepts only what the platform accepts', () => {
  const letters = fc.constantFrom(...'0123456789abfFg.:%/ x'.split(''));
  fc.assert(
    fc.property(fc.string({ unit: letters, maxLength: 20 }), (text) => {
      assert.equal(parseIp4(text) !== undefined, isIPv4(text), text);
      if (!text.includes('%')) assert.equal(parseIp6(text) !== undefined, isIPv6(text), text);
      else assert.equal(parseIp6(text), undefined);
    }),
    runs(20_000),
  );
  const near = fc
    .tuple(ips, fc.nat(40), fc.constantFrom(...'0123456789af.:'.split('')))
    .map(([address, at, letter]) => {
      const text = formatIp(address);
      return text.slice(0, at) + letter + text.slice(at + 1);
    });
  fc.assert(
    fc.property(near, (text) => {
      assert.equal(parseIp4(text) !== undefined, isIPv4(text), text);
      assert.equal(parseIp6(text) !== undefined, isIPv6(text), text);
    }),
    runs(20_000),
  );
});

test('refused IPv4 forms', () => {
  const refused = (
    '|1|1.2|1.2.3|1.2.3.|.1.2.3|1..2.3|1.2.3.4.|1.2.3.4.5|' +
    '010.1.1.1|1.1.1.01|00.0.0.0|1.1.1.00|256.1.1.1|1.1.1.999|1.1.1.1000|' +
    '0x7f.0.0.1|2130706433|1.2.3.4/24|1.2.3.4 | 1.2.3.4|1.2.3.-4|1.2.3.+4|' +
    '1.2.3.4\n|1,2,3,4|１.2.3.4|1.2.3.4:80|::1|1e1.1.1.1|1.1.1.1.1.1.1.1'
  ).split('|');
  for (const text of refused) assert.equal(parseIp4(text), undefined, JSON.stringify(text));
});

test('refused IPv6 forms', () => {
  const refused = (
    '|:|:::|::1::|1:2:3:4:5:6:7:8:9|1:2:3:4:5:6:7|1:2:3:4:5:6:7:8:|' +
    ':1:2:3:4:5:6:7|1::2::3|1:::2|fe80::1%eth0|::1/128|[::1]|12345::|' +
    '::g|::-1| ::1|::1 |1:2:3:4:5:6:7::8|::1:2:3:4:5:6:7:8|1:2:3:4::5:6:7:8|' +
    '::1.2.3|::1.2.3.4.5|::01.2.3.4|::1.2.3.4:5|1.2.3.4::|1.2.3.4|::256.1.1.1|' +
    `1:2:3:4:5:6:7:1.2.3.4|::0x1|::１|1|localhost|::${'0'.repeat(60)}`
  ).split('|');
  for (const text of refused) assert.equal(parseIp6(text), undefined, JSON.stringify(text));
});

test('the canonical text of RFC 5952', () => {
  const canonical = [
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:DB8::AaAa', '2001:db8::aaaa'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::ffff:c000:0201', '::ffff:192.0.2.1'],
    ['::192.0.2.1', '::c000:201'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ] as const;
  for (const [text, wanted] of canonical) assert.equal(formatIp6(ip6(text)), wanted, text);
});

test('what kind of address', () => {
  const kinds: [string, (address: Ip) => boolean, boolean][] = [
    ['224.0.0.1', isMulticastIp, true],
    ['239.255.255.255', isMulticastIp, true],
    ['223.255.255.255', isMulticastIp, false],
    ['240.0.0.0', isMulticastIp, false],
    ['ff02::1', isMulticastIp, true],
    ['fe80::ff', isMulticastIp, false],
    ['0.0.0.0', isUnspecifiedIp, true],
    ['::', isUnspecifiedIp, true],
    ['::1', isUnspecifiedIp, false],
    ['127.9.9.9', isLoopbackIp, true],
    ['128.0.0.1', isLoopbackIp, false],
    ['::1', isLoopbackIp, true],
    ['0.255.255.255', namesOneHost, false],
    ['1.0.0.0', namesOneHost, true],
    ['127.0.0.1', namesOneHost, false],
    ['223.255.255.255', namesOneHost, true],
    ['224.0.0.1', namesOneHost, false],
    ['240.0.0.0', namesOneHost, false],
    ['255.255.255.255', namesOneHost, false],
    ['fd00::1', namesOneHost, true],
    ['::', namesOneHost, false],
    ['::1', namesOneHost, false],
    ['ff02::1', namesOneHost, false],
    ['169.254.1.1', isLinkLocalIp, true],
    ['169.253.1.1', isLinkLocalIp, false],
    ['fe80::1', isLinkLocalIp, true],
    ['febf::1', isLinkLocalIp, true],
    ['fec0::1', isLinkLocalIp, false],
  ];
  for (const [text, is, wanted] of kinds) assert.equal(is(ip(text)), wanted, text);
});

test('addresses that follow from others', () => {
  assert.equal(formatIp(solicitedNode(ip6('fd00::12:3456'))), 'ff02::1:ff12:3456');
  assert.equal(formatMac(multicastMac(ip6('ff02::1:ff12:3456'))), '33:33:ff:12:34:56');
  assert.equal(formatMac(multicastMac(ALL_NODES6)), '33:33:00:00:00:01');
  assert.equal(formatMac(multicastMac(ip('239.129.2.3'))), '01:00:5e:01:02:03');
  const mac = parseMac('02:00:00:00:00:0b') ?? (0 as Mac);
  assert.equal(formatIp(linkLocalOf(mac)), 'fe80::ff:fe00:b');
  fc.assert(
    fc.property(macs, (any) => {
      assert.ok(isLinkLocalIp(linkLocalOf(any)));
      assert.equal(linkLocalOf(any).length, 32);
    }),
    runs(200),
  );
});
