/**
 * Frames in text: both directions, what is refused and how, and what a real kernel's frames look
 * like.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bytesUpTo,
  damaged,
  frames,
  ip4s,
  ip6s,
  macs,
  record,
  runs,
  u16,
  u8,
} from './arbitraries.test.ts';
import { frameFault } from './fault.ts';
import { encodeFrame } from './frame.ts';
import { formatIp } from './ip.ts';
import { formatMac, parseMac, ZERO_MAC, type Mac } from './mac.ts';
import { ICMP_WORDS } from './packet/icmp.ts';
import { ICMP6_WORDS } from './packet/icmp6.ts';
import { TCP_FLAG } from './packet/tcp.ts';
import { readPcap } from './pcap.ts';
import { describeFrame, parseFrameText, type MacDefaults } from './text.ts';
import { LINE_LENGTH_MAX } from './words.ts';

function parse(text: string, defaults?: MacDefaults): Uint8Array {
  const bytes = parseFrameText(text, defaults);
  assert.ok(bytes instanceof Uint8Array, `${text}: ${'error' in bytes ? bytes.error : ''}`);
  return bytes;
}
const errorOf = (text: string, defaults?: MacDefaults): string => {
  const bytes = parseFrameText(text, defaults);
  return bytes instanceof Uint8Array ? '' : bytes.error;
};
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const v4 = ip4s.map(formatIp);
const v6 = ip6s.map(formatIp);
const target6 = ip6s.filter((ip) => !ip.startsWith('ff')).map(formatIp);
const mac = macs.map(formatMac);
const word = <T extends string>(name: T, values: fc.Arbitrary<number>) =>
  fc.option(
    values.map((value) => `${name} ${value}`),
    { nil: '' },
  );
const payload = fc.oneof(
  fc.constant(''),
  fc.nat(1400).map((n) => `length ${n}`),
  fc.uint8Array({ minLength: 1, maxLength: 64 }).map((bytes) => `data ${hex(bytes)}`),
);
/** Words in any order. */
const shuffled = (...words: fc.Arbitrary<string>[]): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.tuple(...words),
      fc.array(fc.nat(100), { minLength: words.length, maxLength: words.length }),
    )
    .map(([list, keys]) =>
      list
        .map((text, i) => ({ text, key: keys[i] ?? 0 }))
        .toSorted((a, b) => a.key - b.key)
        .map(({ text }) => text)
        .join(' '),
    );
const ttl = word('ttl', u8);
const tos = word('tos', u8);
const join = (...parts: fc.Arbitrary<string>[]): fc.Arbitrary<string> =>
  fc.tuple(...parts).map((words) => words.filter((part) => part !== '').join(' '));
const endpoint = (ip: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(ip, u16)
    .map(([host, port]) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`));
const both = (of: (ip: fc.Arbitrary<string>) => fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof(...[v4, v6].map((ip) => fc.tuple(of(ip), of(ip)).map(([a, b]) => `${a} > ${b}`)));
const pairOf = (ip: fc.Arbitrary<string>) => fc.tuple(ip, ip).map(([a, b]) => `${a} > ${b}`);
const message = (words: object, forbidden: readonly number[]): fc.Arbitrary<string> =>
  fc.oneof(
    fc.constantFrom('', ...Object.keys(words)),
    fc
      .tuple(
        u8.filter((type) => !forbidden.includes(type)),
        u8,
      )
      .map(([type, code]) => `type ${type} code ${code}`),
  );
const flags = fc
  .subarray(Object.keys(TCP_FLAG))
  .map((words) => (words.length > 0 ? words.join(' ') : 'noflags'));

/**
 * Every form of the grammar. The type and protocol numbers that have words of their own are left
 * out.
 */
const texts = join(
  fc.tuple(mac, mac).map(([src, dst]) => `${src} > ${dst}`),
  word('vlan', fc.nat(4095)),
  fc.oneof(
    fc.tuple(v4, v4).map(([a, b]) => `arp who-has ${a} tell ${b}`),
    fc
      .tuple(v4, mac, fc.option(v4, { nil: undefined }))
      .map(([a, at, to]) => `arp reply ${a} is-at ${at}${to === undefined ? '' : ` to ${to}`}`),
    join(
      fc.tuple(v6, target6).map(([a, b]) => `ns ${a} for ${b}`),
      fc.option(
        v6.map((ip) => `to ${ip}`),
        { nil: '' },
      ),
      shuffled(ttl, tos),
    ),
    join(
      fc.tuple(target6, mac, v6).map(([a, at, to]) => `na ${a} is-at ${at} to ${to}`),
      shuffled(ttl, tos, fc.constantFrom('', 'router')),
    ),
    join(
      fc.constant('icmp'),
      pairOf(v4),
      shuffled(message(ICMP_WORDS, []), word('id', u16), word('seq', u16), ttl, tos, payload),
    ),
    join(
      fc.constant('icmp6'),
      pairOf(v6),
      shuffled(
        message(ICMP6_WORDS, [135, 136]),
        word('id', u16),
        word('seq', u16),
        ttl,
        tos,
        payload,
      ),
    ),
    join(fc.constant('icmp'), pairOf(v4), fc.constant('frag-needed'), word('mtu', u16)),
    join(fc.constant('udp'), both(endpoint), shuffled(ttl, tos, payload)),
    join(fc.constant('tcp'), both(endpoint), shuffled(flags, ttl, tos, payload)),
    join(
      fc.constant('ip'),
      both((ip) => ip),
      fc.constantFrom(2, 47, 50, 51, 59, 89, 132, 255).map((n) => `proto ${n}`),
      shuffled(ttl, tos, payload),
    ),
    join(
      fc.constantFrom('0000', '0026', '05dc', '88cc', '88A8', 'ffff').map((n) => `type 0x${n}`),
      payload,
    ),
  ),
);

test('what the text can say comes back as text, and that text as the same bytes', () => {
  fc.assert(
    fc.property(texts, (text) => {
      const bytes = parse(text);
      assert.equal(frameFault(bytes), undefined);
      const described = describeFrame(bytes);
      assert.ok(!described.includes('('), described);
      assert.ok(!described.includes('\n'));
      assert.equal(hex(parse(described)), hex(bytes), described);
      assert.equal(describeFrame(parse(described)), described);
    }),
    runs(6000),
  );
});

test('any bytes: text without parentheses parses back to exactly them', () => {
  const ethernet = bytesUpTo(60).map((junk) =>
    Uint8Array.from([...Array(12).fill(2), 0x88, 0xcc, ...junk]),
  );
  const plain = texts.map((text) => parse(text));
  let exact = 0;
  const law = (bytes: Uint8Array): void => {
    const text = describeFrame(bytes);
    if (text.includes('(')) {
      assert.notEqual(errorOf(text), '', text);
      return;
    }
    // Trailing words that say nothing new would break this, such as a payload shown twice.
    assert.equal(hex(parse(text)), hex(bytes), text);
    exact++;
  };
  const any = fc.oneof(damaged(plain), damaged(frames.map(encodeFrame)), damaged(ethernet));
  fc.assert(fc.property(any, law), runs(12_000));
  assert.ok(exact > 1000, `${exact} exact`);
  fc.assert(fc.property(bytesUpTo(100), law), runs(5000));
});

test('the words of the grammar', () => {
  const ends = '02:00:00:00:00:01 > 02:00:00:00:00:02 ';
  // Text in, and what describeFrame makes of it where that differs.
  const lines: readonly (readonly [text: string, described?: string])[] = [
    ['arp who-has 10.0.0.2 tell 10.0.0.1'],
    ['vlan 5 arp who-has 10.0.0.2 tell 10.0.0.1'],
    ['arp reply 10.0.0.2 is-at 02:00:00:00:00:09'],
    ['arp reply 10.0.0.2 is-at 02:00:00:00:00:09 to 10.0.0.1'],
    ['ns fd00::1 for fd00::2'],
    ['ns :: for fd00::2'],
    ['ns fd00::1 for fd00::2 to fd00::2 ttl 1'],
    ['na fd00::2 is-at 02:00:00:00:00:02 to fd00::1'],
    ['na fd00::2 is-at 02:00:00:00:00:02 to ff02::1 router'],
    ['icmp 10.0.0.1 > 10.0.0.2', 'icmp 10.0.0.1 > 10.0.0.2 echo id 0 seq 0'],
    ['icmp 10.0.0.1 > 10.0.0.2 seq 2 id 1 reply', 'icmp 10.0.0.1 > 10.0.0.2 reply id 1 seq 2'],
    ['icmp 10.0.0.1 > 10.0.0.2 frag-needed mtu 1400 length 28'],
    ['icmp 10.0.0.1 > 10.0.0.2 type 8', 'icmp 10.0.0.1 > 10.0.0.2 echo id 0 seq 0'],
    ['icmp6 fd00::1 > fd00::2 too-big mtu 70000'],
    ['udp 10.0.0.1:53 > 10.0.0.2:1024 ttl 3 tos 8 data cafe'],
    ['udp [fd00::1]:53 > [fd00::2]:1024 length 9'],
    ['udp 10.0.0.1:1 > 10.0.0.2:2 data 0000', 'udp 10.0.0.1:1 > 10.0.0.2:2 length 2'],
    ['tcp 10.0.0.1:1 > 10.0.0.2:2', 'tcp 10.0.0.1:1 > 10.0.0.2:2 syn'],
    ['tcp 10.0.0.1:1 > 10.0.0.2:2 ack syn', 'tcp 10.0.0.1:1 > 10.0.0.2:2 syn ack'],
    ['tcp [fd00::1]:1 > [fd00::2]:2 noflags'],
    ['ip 10.0.0.1 > 10.0.0.2 proto 47 length 4'],
    ['type 0x88cc data 0102'],
    ['vlan 5 type 0x8100 data 0006'],
    ['type 0x0800 data 45'],
  ];
  for (const [text, described = text] of lines) {
    const bytes = parse(ends + text);
    assert.equal(describeFrame(bytes), ends + described);
    assert.equal(hex(parse(describeFrame(bytes))), hex(bytes));
  }
});

const P = parseMac('02:00:00:00:00:aa') ?? ZERO_MAC;
const Q = parseMac('02:00:00:00:00:bb') ?? ZERO_MAC;

test('MACs that follow, and defaults for those that do not', () => {
  const cases: readonly (readonly [string, Mac | undefined, string])[] = [
    ['arp who-has 10.0.0.2 tell 10.0.0.1', P, '02:00:00:00:00:aa > ff:ff:ff:ff:ff:ff'],
    [
      'arp reply 10.0.0.2 is-at 02:00:00:00:00:09',
      undefined,
      '02:00:00:00:00:09 > ff:ff:ff:ff:ff:ff',
    ],
    ['ns fd00::1 for fd00::2', P, '02:00:00:00:00:aa > 33:33:ff:00:00:02'],
    [
      'na fd00::2 is-at 02:00:00:00:00:09 to ff02::1',
      undefined,
      '02:00:00:00:00:09 > 33:33:00:00:00:01',
    ],
    ['udp 10.0.0.1:1 > 224.0.0.251:2', P, '02:00:00:00:00:aa > 01:00:5e:00:00:fb'],
    ['udp 10.0.0.1:1 > 255.255.255.255:2', P, '02:00:00:00:00:aa > ff:ff:ff:ff:ff:ff'],
    ['icmp6 fd00::1 > ff02::2 router-solicitation', P, '02:00:00:00:00:aa > 33:33:00:00:00:02'],
  ];
  for (const [text, src, wanted] of cases) {
    const described = describeFrame(parse(text, src === undefined ? {} : { src }));
    assert.ok(described.startsWith(wanted), described);
  }
  const text = 'udp 10.0.0.1:1 > 10.0.0.2:2';
  assert.match(
    describeFrame(parse(text, { src: P, dst: Q })),
    /^02:00:00:00:00:aa > 02:00:00:00:00:bb udp/,
  );
  const own = parse(`02:00:00:00:00:01 > 02:00:00:00:00:02 ${text}`, { src: P, dst: Q });
  assert.match(describeFrame(own), /^02:00:00:00:00:01 > 02:00:00:00:00:02 udp/);
  assert.match(errorOf(text, { src: P }), /^destination MAC: does not follow/);
  assert.match(errorOf('arp who-has 10.0.0.2 tell 10.0.0.1'), /^source MAC: does not follow/);
  assert.match(
    errorOf('arp reply 10.0.0.2 is-at 02:00:00:00:00:09 to 10.0.0.1'),
    /^destination MAC/,
  );
});

test('refused lines name the word and the rule', () => {
  const refused: readonly (readonly [string, RegExp])[] = [
    ['', /^protocol: missing at the end/],
    ['ipx', /^'ipx': must be one of arp, ns, na, icmp, icmp6, udp, tcp, ip, type$/],
    ['02:00:00:00:00:01 02:00:00:00:00:02 arp', /^'>': must stand where/],
    ['02:00:00:00:00:01 > nobody arp', /^destination MAC: must be a MAC address, not 'nobody'/],
    ['vlan 4096 arp', /^vlan: must be a number from 0 to 4095, not '4096'/],
    ['vlan', /^vlan: missing at the end/],
    ['arp', /^'reply': missing at the end/],
    ['arp who-has 10.0.0.2', /^'tell': missing at the end/],
    ['arp who-has fd00::1 tell 10.0.0.1', /^who-has: must be an IPv4 address/],
    ['arp who-has 010.0.0.2 tell 10.0.0.1', /^who-has: must be an IP address, not '010.0.0.2'/],
    ['arp who-has 10.0.0.2 tell 10.0.0.1 ttl 3', /^arp: does not take 'ttl'/],
    ['arp reply 10.0.0.2 is-at x', /^is-at: must be a MAC address/],
    ['ns 10.0.0.1 for fd00::2', /^ns: must be an IPv6 address/],
    ['ns fd00::1 for ff02::2', /^for: must not be a multicast group/],
    ['na ff02::2 is-at 02:00:00:00:00:01 to fd00::1', /^na: must not be a multicast group/],
    ['icmp 10.0.0.1 > fd00::1', /^icmp: both addresses must be of one family/],
    ['icmp fd00::1 > fd00::2', /^icmp: must have IPv4 addresses/],
    ['icmp6 10.0.0.1 > 10.0.0.2', /^icmp6: must have IPv6 addresses/],
    ['icmp 10.0.0.1 > 10.0.0.2 echo reply', /^icmp: 'echo' and 'reply' exclude each other/],
    ['icmp 10.0.0.1 > 10.0.0.2 echo type 8', /^icmp: 'echo' stands for a type/],
    ['icmp 10.0.0.1 > 10.0.0.2 frag-needed mtu 1 id 2', /^mtu: excludes id and seq/],
    ['icmp 10.0.0.1 > 10.0.0.2 id 65536', /^id: must be a number from 0 to 65535/],
    ['icmp 10.0.0.1 > 10.0.0.2 id 1 id 1', /^id: must be given once/],
    ['icmp 10.0.0.1 > 10.0.0.2 id', /^id: missing at the end/],
    ['icmp 10.0.0.1 > 10.0.0.2 id 01', /^id: must be a number .* not '01'/],
    ['icmp 10.0.0.1 > 10.0.0.2 constructor', /^icmp: does not take 'constructor'/],
    ['icmp6 fd00::1 > fd00::2 type 135', /^type: 135 and 136 are written as ns and na/],
    ['udp 10.0.0.1 > 10.0.0.2:2', /^udp source: must be IP:PORT/],
    ['udp fd00::1:1 > fd00::2:2', /^udp source: must be IP:PORT or \[IP6\]:PORT/],
    ['udp [10.0.0.1]:1 > 10.0.0.2:2', /^udp source: must be IP:PORT/],
    ['udp 10.0.0.1:65536 > 10.0.0.2:2', /^udp source port: must be a number from 0 to 65535/],
    ['udp 10.0.0.1:1 > [fd00::2]:2', /^udp: both ends must be of one family/],
    ['udp 10.0.0.1:1 > 10.0.0.2:2 syn', /^udp: does not take 'syn'/],
    ['udp 10.0.0.1:1 > 10.0.0.2:2 length 1 data 00', /^length, data: only one/],
    ['udp 10.0.0.1:1 > 10.0.0.2:2 data 0', /^data: must be pairs of hexadecimal digits/],
    [`udp 10.0.0.1:1 > 10.0.0.2:2 data ${'00'.repeat(65)}`, /^data: must be at most 64 bytes/],
    ['udp 10.0.0.1:1 > 224.0.0.1:2 length 65508', /^length: must leave the packet at most 65535/],
    ['tcp 10.0.0.1:1 > 10.0.0.2:2 syn noflags', /^noflags: excludes every flag/],
    ['tcp 10.0.0.1:1 > 10.0.0.2:2 ttl 256', /^ttl: must be a number from 0 to 255/],
    ['ip 10.0.0.1 > 10.0.0.2', /^'proto': missing at the end/],
    ['type 88cc', /^type: must be 0x and four digits, not '88cc'/],
    ['type 0x8100 length 4', /^type: 0x8100 is written as vlan N/],
    ['type 0x88cc (comment)', /^type: does not take '\(comment\)'/],
    ['x'.repeat(LINE_LENGTH_MAX + 1), /^the line: must have at most 1024 characters/],
  ];
  for (const [text, rule] of refused) assert.match(errorOf(text, { src: P, dst: Q }), rule, text);
});

test('junk lines answer an error, never throw', () => {
  const pieces = fc.oneof(
    texts.map((text) => text.split(' ')),
    fc.string({ maxLength: 12 }).map((text) => [text]),
    fc.constantFrom(
      ['>'],
      ['length', '9'],
      ['__proto__'],
      ['toString'],
      ['type', '0x8100'],
      ['data'],
    ),
  );
  const lines = fc
    .tuple(fc.array(pieces, { maxLength: 4 }), fc.nat(8), fc.nat(8))
    .map(([list, drop, keep]) =>
      list
        .flat()
        .filter((_, i) => i !== drop && i < keep * 3)
        .join(' '),
    );
  fc.assert(
    fc.property(record({ line: lines, src: macs, dst: macs }), ({ line, src, dst }) => {
      const bytes = parseFrameText(line, { src, dst });
      if (bytes instanceof Uint8Array) describeFrame(bytes);
      else assert.notEqual(bytes.error, '');
    }),
    runs(10_000),
  );
});

test('frames of a real kernel', () => {
  const file = readPcap(readFileSync(new URL('./testdata/kernel.pcap', import.meta.url)));
  assert.ok('records' in file);
  const lines = file.records.map(({ frame }) => describeFrame(frame));
  const wanted = readFileSync(new URL('./testdata/kernel.txt', import.meta.url), 'utf8');
  assert.equal(`${lines.join('\n')}\n`, wanted);
});
