/** A line that is no packet: the complaint points at the word that is wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseMac, type Mac } from './mac.ts';
import { parseFrameText, splitOrigin } from './text.ts';
import type { LineFault } from './words.ts';

const seed = Number(process.env['SEED'] ?? 1);
const MACS = {
  src: parseMac('02:00:00:00:00:01') as Mac,
  dst: parseMac('02:00:00:00:00:02') as Mac,
};
const faultOf = (line: string, macs: Partial<typeof MACS> = MACS): LineFault => {
  const found = parseFrameText(line, macs);
  assert.ok('error' in found, line);
  return found;
};

test('the word is marked, and what may stand there', () => {
  /** Of each: the line, its mark below, and what may stand there beyond the rule. */
  const cases: readonly (readonly [line: string, mark: string, may?: string])[] = [
    ['icpm 10.0.0.1 > 10.0.0.2', '^^^^'],
    ['icmp 10.0.0.1 > vm2', '                ^^^'],
    ['icmp 10.0.0.1 10.0.0.2', '              ^^^^^^^^'],
    ['icmp 10.0.0.1 >', '               |'],
    ['icmp  10.0.0.1 > 10.0.0.2  id  x', '                               ^'],
    [
      'udp 10.0.0.1:1 > 10.0.0.2:2 syn',
      '                            ^^^',
      'ttl 0-255, tos 0-255, length N, data HEX',
    ],
    [
      'udp 10.0.0.1:1 > 10.0.0.2:2 ttl 3 ack',
      '                                  ^^^',
      'tos 0-255, length N, data HEX',
    ],
    [
      'arp who-has 10.0.0.2 tell 10.0.0.1 x',
      '                                   ^',
      'nothing more',
    ],
    ['icmp 10.0.0.1 > 10.0.0.2 echo reply', '                              ^^^^^'],
    ['icmp 10.0.0.1 > 10.0.0.2 type 8 echo', '                                ^^^^'],
    ['tcp 10.0.0.1:1 > 10.0.0.2:2 noflags syn', '                            ^^^^^^^'],
    ['vlan 5000 icmp 10.0.0.1 > 10.0.0.2', '     ^^^^'],
    ['02:00:00:00:00:01 > x type 0x88b5', '                    ^'],
    ['type 0x8100 length 9', '     ^^^^^^'],
    ['udp 10.0.0.1:1 > 10.0.0.2:2 length 1 data 00', '                                     ^^^^'],
  ];
  for (const [line, mark, may] of cases) {
    const fault = faultOf(line);
    const marked =
      fault.start === fault.end
        ? `${' '.repeat(fault.start)}|`
        : ' '.repeat(fault.start) + '^'.repeat(fault.end - fault.start);
    assert.equal(marked, mark, `${line}: ${fault.error}`);
    if (may !== undefined) assert.equal(fault.may, may);
  }
  const bare = faultOf('icmp 10.0.0.1 > 10.0.0.2', {});
  assert.deepEqual([bare.start, bare.end, bare.may], [0, 4, 'MAC > MAC, in front of the protocol']);
});

test('where a packet comes from stands behind it', () => {
  const packet = 'tcp 10.0.0.5:3333 > 10.0.1.7:80';
  const cases: readonly (readonly [string, string, string | undefined])[] = [
    [`${packet} from vm1`, packet, 'vm1'],
    [`${packet}  from  my port `, `${packet} `, 'my port'],
    [`${packet} from a from b`, packet, 'a from b'],
    [`${packet} from`, packet, ''],
    [packet, packet, undefined],
    ['from vm1', '', 'vm1'],
    [`${packet} fromage`, `${packet} fromage`, undefined],
  ];
  for (const [line, ...wanted] of cases) {
    const found = splitOrigin(line);
    assert.deepEqual([found.packet, found.from], wanted, line);
    assert.ok(line.startsWith(found.packet));
  }
});

const LINES = [
  '02:00:00:00:00:01 > 02:00:00:00:00:02 vlan 5 icmp 10.0.0.1 > 10.0.0.2 echo id 1 seq 2',
  'arp who-has 10.0.0.2 tell 10.0.0.1',
  'arp reply 10.0.0.2 is-at 02:00:00:00:00:02 to 10.0.0.1',
  'ns fd00::1 for fd00::2 to ff02::1:ff00:2',
  'na fd00::2 is-at 02:00:00:00:00:02 to fd00::1 router',
  'udp 10.0.0.1:1 > 10.0.0.2:2 ttl 3 data 00ff',
  'tcp [fd00::1]:1 > [fd00::2]:2 syn ack tos 9',
  'ip 10.0.0.1 > 10.0.0.2 proto 47 length 9',
  'type 0x88b5 data 01',
];

test('of a line with one wrong word, that word is marked, whichever it is', () => {
  const junk = fc.oneof(
    fc.constantFrom('x', '-1', '0x', '::g', '10.0.0.256', '[::1', '>>', '__proto__', '(df)', '§'),
    fc.stringMatching(/^[!-~]{1,9}$/).map((text) => `?${text}`),
  );
  fc.assert(
    fc.property(fc.constantFrom(...LINES), fc.nat(30), junk, (line, n, word) => {
      const words = line.split(' ');
      const at = n % words.length;
      const broken = words.with(at, word);
      const fault = faultOf(broken.join(' '));
      const start = broken.slice(0, at).join(' ').length + (at === 0 ? 0 : 1);
      assert.deepEqual(
        [fault.start, fault.end],
        [start, start + word.length],
        `${broken.join(' ')}: ${fault.error}`,
      );
    }),
    { seed, numRuns: 5_000 },
  );
});

test('any text at all: a frame, or a mark inside the line at a whole word or at its end', () => {
  const piece = fc.oneof(
    fc.constantFrom(...LINES.flatMap((line) => line.split(' ')), 'from', ' ', '\t', '\n'),
    fc.string({ maxLength: 9 }),
    fc.string({ unit: 'binary', maxLength: 9 }),
  );
  const line = fc.array(piece, { maxLength: 16 }).map((pieces) => pieces.join(' '));
  fc.assert(
    fc.property(line, (text) => {
      const { packet } = splitOrigin(text);
      const found = parseFrameText(packet, MACS);
      if (found instanceof Uint8Array) return;
      const { error, start, end } = found;
      assert.notEqual(error, '');
      assert.ok(start <= end && end <= packet.length, `${start} ${end} ${packet.length}`);
      const marked = packet.slice(start, end);
      if (marked === '') assert.equal(start, packet.trimEnd().length);
      else assert.match(marked, /^\S+$/u);
    }),
    { seed, numRuns: 10_000 },
  );
});
