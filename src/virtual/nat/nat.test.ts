/**
 * Rules that translate, on a tenant's router: sources and destinations of connections and back,
 * static ones, ICMP errors through each, and what is not translated.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorAbout } from '#net/icmp-error.ts';
import type { Ip } from '#net/ip.ts';
import { encodeFrame, decodeFrame } from '#net/frame.ts';
import { quotedBy } from '#net/quoted.ts';
import { echoReply } from '#net/reply.ts';
import { checksum } from '#net/checksum.ts';
import { formatTuple, type ConnectionKey } from '../connection.ts';
import { ip, mac, macOf, type Network, seen } from '../network.fixture.ts';
import { pass, tenant, textOf } from './nat.fixture.ts';

const OUT = `${macOf(9)} > ${macOf(0x13)}`;
const SNAT = { action: 'snat', targets: ['192.0.2.1'] };
const BACK = { action: 'reverse-snat', destination: '192.0.2.1/32' };
const masquerade = (): Network => tenant([BACK], [SNAT]);
const portOf = (text: string): number => Number(/192\.0\.2\.1:(\d+)/.exec(text)?.[1]);

/** An ICMP error about a frame, from somewhere on its way, to be sent back by `macs`. */
function errorTo(bytes: Uint8Array, from: string, macs: readonly [number, number]): Uint8Array {
  const frame = errorAbout(bytes, {
    cause: 'port-unreachable',
    from: ip(from) as Ip,
    src: mac(macOf(macs[0])),
    dst: mac(macOf(macs[1])),
  });
  assert(frame !== undefined);
  return frame;
}
/** The packet that an error quotes, as a tuple; its own checksums must be right. */
function quotedIn(bytes: Uint8Array): string {
  const quoted = quotedBy(bytes);
  assert(quoted !== undefined);
  const [ipAt, icmpAt] = [14, 34];
  assert.equal(checksum(bytes, ipAt, icmpAt), 0, 'the outer header');
  assert.equal(checksum(bytes, icmpAt, bytes.length), 0, 'the message');
  assert.equal(checksum(bytes, icmpAt + 8, icmpAt + 28), 0, 'the quoted header');
  const { protocol, src, dst, ports } = quoted;
  return formatTuple({ protocol, src, dst, srcPort: ports[0], dstPort: ports[1] });
}

test('a source gets a public port, its answers come back, and later packets keep it', () => {
  const net = masquerade();
  const first = pass(net, 'vm1', 'udp 10.0.0.1:5000 > 198.51.100.7:53');
  const port = portOf(first.text);
  assert.ok(port >= 1_024, first.text);
  assert.equal(first.text, `udp 192.0.2.1:${port} > 198.51.100.7:53`);
  assert.equal(pass(net, 'vm1', 'udp 10.0.0.1:5000 > 198.51.100.7:53').text, first.text);
  const back = pass(net, 'up', `${OUT} udp 198.51.100.7:53 > 192.0.2.1:${port}`);
  assert.equal(back.text, 'udp 198.51.100.7:53 > 10.0.0.1:5000');
  assert.deepEqual(back.outcome.verdict, { kind: 'forward', to: [{ port: net.port('vm1') }] });
  for (const { outcome } of [first, back]) {
    assert.ok(outcome.cacheable);
    for (const field of ['ipSrc', 'ipDst', 'ipProto', 'tpSrc', 'tpDst'])
      assert.ok(seen(outcome).includes(field), `${field} in ${seen(outcome)}`);
  }
});

test('two sources never have one public port with one peer', () => {
  const net = masquerade();
  net.publicPorts = {
    ...net.publicPorts,
    owned: () => [{ first: 2_000, last: 2_001 }],
    isTaken: (zone, tuple) => net.connections.find(zone, tuple) !== undefined,
  };
  const a = pass(net, 'vm1', 'udp 10.0.0.1:5000 > 198.51.100.7:53');
  const b = pass(net, 'vm2', `${macOf(2)} > ${macOf(0x11)} udp 10.0.0.2:5000 > 198.51.100.7:53`);
  assert.deepEqual([portOf(a.text), portOf(b.text)].sort(), [2_000, 2_001]);
  const c = pass(net, 'vm1', 'udp 10.0.0.1:5001 > 198.51.100.7:53');
  assert.equal(c.text, 'want-ports');
  const other = pass(net, 'vm1', 'udp 10.0.0.1:5001 > 198.51.100.8:53');
  assert.match(other.text, /^udp 192\.0\.2\.1:200[01] > 198\.51\.100\.8:53$/, 'another peer');
});

test('an echo has its identifier translated, and back', () => {
  const net = masquerade();
  const first = pass(net, 'vm1', 'icmp 10.0.0.1 > 198.51.100.7 echo id 77 seq 1');
  const id = Number(/id (\d+)/.exec(first.text)?.[1]);
  assert.ok(id >= 1_024 && id !== 77, first.text);
  const reply = echoReply(first.bytes, { src: mac(macOf(9)), dst: mac(macOf(0x13)) });
  assert(reply !== undefined);
  assert.equal(pass(net, 'up', reply).text, 'icmp 198.51.100.7 > 10.0.0.1 reply id 77');
});

test('a destination is led on, by address and port, and its answers come from the first', () => {
  const dnat = { action: 'dnat', destination: '192.0.2.1/32', protocol: 'tcp' };
  const net = tenant(
    [{ ...dnat, destinationPorts: '8080', targets: ['10.0.0.2:80'] }],
    [{ action: 'reverse-dnat' }],
  );
  const first = pass(net, 'up', `${OUT} tcp 198.51.100.7:999 > 192.0.2.1:8080 syn`);
  assert.equal(first.text, 'tcp 198.51.100.7:999 > 10.0.0.2:80');
  const from2 = `${macOf(2)} > ${macOf(0x11)}`;
  const back = pass(net, 'vm2', `${from2} tcp 10.0.0.2:80 > 198.51.100.7:999 syn ack`);
  assert.equal(back.text, 'tcp 192.0.2.1:8080 > 198.51.100.7:999');
  const own = pass(net, 'vm2', `${from2} tcp 10.0.0.2:80 > 198.51.100.8:999 syn`);
  assert.equal(own.text, 'tcp 10.0.0.2:80 > 198.51.100.8:999', 'its own connections stay');
});

test('a floating address: one to one, both ways, without a record, for every protocol', () => {
  const net = tenant(
    [{ action: 'dnat', static: true, destination: '192.0.2.50/32', targets: ['10.0.0.1'] }],
    [{ action: 'snat', static: true, source: '10.0.0.1/32', targets: ['192.0.2.50'] }],
  );
  const inwards = pass(net, 'up', `${OUT} tcp 198.51.100.7:999 > 192.0.2.50:22 syn`);
  assert.equal(inwards.text, 'tcp 198.51.100.7:999 > 10.0.0.1:22');
  assert.equal(inwards.outcome.connection, undefined);
  assert.equal(seen(inwards.outcome).includes('tpSrc'), false, seen(inwards.outcome));
  const out = pass(net, 'vm1', 'ip 10.0.0.1 > 198.51.100.7 proto 47');
  assert.match(out.text, /192\.0\.2\.50 > 198\.51\.100\.7/);
});

test('a connection through a floating address is one, for filters on either side of it', () => {
  const net = tenant(
    [{ action: 'dnat', static: true, destination: '192.0.2.50/32', targets: ['10.0.0.1'] }],
    [{ action: 'snat', static: true, source: '10.0.0.1/32', targets: ['192.0.2.50'] }],
  );
  net.chain('in-vm1', { action: 'accept', connection: ['new'], destinationPorts: '22' });
  net.filter('port', 'vm1', 'outboundFilter', 'in-vm1');
  const first = pass(net, 'up', `${OUT} tcp 198.51.100.7:999 > 192.0.2.50:22 syn`);
  const key = first.outcome.connection?.key;
  assert.equal(key && formatTuple(key.tuple), 'tcp 198.51.100.7:999 > 192.0.2.50:22');
  assert.equal(first.outcome.connection?.state, 'new');
  net.chain('from-vm1', { action: 'accept', connection: ['established'] }, { action: 'drop' });
  net.filter('port', 'vm1', 'inboundFilter', 'from-vm1');
  const back = pass(net, 'vm1', 'tcp 10.0.0.1:22 > 198.51.100.7:999 syn ack');
  assert.equal(back.text, 'tcp 192.0.2.50:22 > 198.51.100.7:999');
  assert.equal(pass(net, 'vm1', 'tcp 10.0.0.1:22 > 198.51.100.8:999 syn').text, 'filter-drop');
});

test('a prefix is translated to another, bit for bit', () => {
  const rule = {
    action: 'snat',
    static: true,
    source: 'fd00:1::/64',
    targets: ['2001:db8:7::/64'],
  };
  const net = tenant([], [rule]);
  net.put('port', 'r-blue', { networks: ['10.0.0.254/24', 'fd00:1::fe/64'] });
  net.put('port', 'up', { networks: ['192.0.2.1/24', '2001:db8::1/64'] });
  net.route('six', 'r', '::/0', { port: net.port('up'), gateway: '2001:db8::9' });
  net.knows('up', '2001:db8::9', 9);
  const out = pass(net, 'vm1', 'udp [fd00:1::abcd]:1 > [2001:db8:9::1]:2');
  assert.equal(out.outcome.rewrites.ipSrc, ip('2001:db8:7::abcd'));
});

test('IPv6 is translated by ports as IPv4 is', () => {
  const net = tenant(
    [{ action: 'reverse-snat', destination: '2001:db8::1/128' }],
    [{ action: 'snat', targets: ['[2001:db8::1]:4000'] }],
  );
  net.put('port', 'r-blue', { networks: ['10.0.0.254/24', 'fd00:1::fe/64'] });
  net.put('port', 'up', { networks: ['192.0.2.1/24', '2001:db8::1/64'] });
  net.put('port', 'vm1', { addresses: [{ mac: macOf(1), ip: 'fd00:1::1' }] });
  net.route('six', 'r', '::/0', { port: net.port('up'), gateway: '2001:db8::9' });
  net.knows('up', '2001:db8::9', 9);
  const out = pass(net, 'vm1', 'tcp [fd00:1::1]:7 > [2001:db8:9::1]:80 syn');
  assert.equal(out.text, 'tcp [2001:db8::1]:4000 > [2001:db8:9::1]:80');
  const back = pass(net, 'up', `${OUT} tcp [2001:db8:9::1]:80 > [2001:db8::1]:4000 syn ack`);
  assert.equal(back.text, 'tcp [2001:db8:9::1]:80 > [fd00:1::1]:7');
});

test('errors come back to who sent the packet, with what it sent inside', () => {
  const net = masquerade();
  const first = pass(net, 'vm1', 'udp 10.0.0.1:5000 > 198.51.100.7:53');
  // From the peer itself, and from a router on the way.
  for (const from of ['198.51.100.7', '203.0.113.3']) {
    const error = errorTo(first.bytes, from, [9, 0x13]);
    const back = pass(net, 'up', error);
    assert.match(back.text, new RegExp(`^icmp ${from} > 10\\.0\\.0\\.1 `));
    assert.equal(quotedIn(back.bytes), 'udp 10.0.0.1:5000 > 198.51.100.7:53');
    assert.equal(back.outcome.cacheable, false);
  }
});

test('errors about answers leave with the public address, and quote it', () => {
  const net = masquerade();
  const { text } = pass(net, 'vm1', 'udp 10.0.0.1:5000 > 198.51.100.7:53');
  const back = pass(net, 'up', `${OUT} udp 198.51.100.7:53 > 192.0.2.1:${portOf(text)}`);
  const left = pass(net, 'vm1', errorTo(back.bytes, '10.0.0.1', [1, 0x11]));
  assert.match(left.text, /^icmp 192\.0\.2\.1 > 198\.51\.100\.7 /);
  assert.equal(quotedIn(left.bytes), `udp 198.51.100.7:53 > 192.0.2.1:${portOf(text)}`);
});

test('errors about packets to a floating address quote it, whoever sends them', () => {
  const net = tenant(
    [{ action: 'dnat', static: true, destination: '192.0.2.50/32', targets: ['10.0.0.1'] }],
    [{ action: 'snat', static: true, source: '10.0.0.1/32', targets: ['192.0.2.50'] }],
  );
  const inwards = pass(net, 'up', `${OUT} udp 198.51.100.7:999 > 192.0.2.50:22`);
  for (const from of ['10.0.0.1', '10.0.0.77']) {
    const left = pass(net, 'vm1', errorTo(inwards.bytes, from, [1, 0x11]));
    assert.match(left.text, /^icmp 192\.0\.2\.50 > 198\.51\.100\.7 /);
    assert.equal(quotedIn(left.bytes), 'udp 198.51.100.7:999 > 192.0.2.50:22');
  }
  const out = pass(net, 'vm1', 'udp 10.0.0.1:7 > 198.51.100.7:8');
  const back = pass(net, 'up', errorTo(out.bytes, '203.0.113.3', [9, 0x13]));
  assert.match(back.text, /^icmp 203\.0\.113\.3 > 10\.0\.0\.1 /);
  assert.equal(quotedIn(back.bytes), 'udp 10.0.0.1:7 > 198.51.100.7:8');
});

test('an error of this router about a packet it has translated quotes it as it came', () => {
  const net = tenant(
    [{ action: 'dnat', static: true, destination: '192.0.2.50/32', targets: ['10.9.9.9'] }],
    [],
  );
  net.remove('route', 'default');
  const { outcome } = pass(net, 'up', `${OUT} udp 198.51.100.7:999 > 192.0.2.50:22`);
  assert.deepEqual(outcome.verdict, { kind: 'drop', reason: 'no-route' });
  const [sent] = outcome.sends;
  assert(sent !== undefined);
  assert.equal(quotedIn(sent.frame), 'udp 198.51.100.7:999 > 192.0.2.50:22');
});

test('a router is not asked about fragments: they are put together first', () => {
  const net = masquerade();
  const bytes = encodeFrame({
    ethernet: { src: mac(macOf(1)), dst: mac(macOf(0x11)) },
    network: {
      ...{ kind: 'ipv4', src: ip('10.0.0.1') as never, dst: ip('198.51.100.7') as never },
      ...{ protocol: 17, moreFragments: true, id: 5 },
    },
    payload: new Uint8Array(64),
  });
  assert(decodeFrame(bytes) !== undefined);
  assert.deepEqual(net.send('vm1', bytes).verdict, { kind: 'collect' });
});

test('protocols without ports are translated by rules that name them, and by no others', () => {
  const esp = 'ip 10.0.0.1 > 198.51.100.7 proto 50';
  assert.match(pass(masquerade(), 'vm1', esp).text, /10\.0\.0\.1 > 198\.51\.100\.7/);
  const net = tenant([BACK], [{ ...SNAT, protocol: 'esp' }]);
  net.publicPorts = {
    ...net.publicPorts,
    isTaken: (zone, tuple) => net.connections.find(zone, tuple) !== undefined,
  };
  assert.match(pass(net, 'vm1', esp).text, /192\.0\.2\.1 > 198\.51\.100\.7/);
  const back = pass(net, 'up', `${OUT} ip 198.51.100.7 > 192.0.2.1 proto 50`);
  assert.match(back.text, /198\.51\.100\.7 > 10\.0\.0\.1/);
  const from2 = `${macOf(2)} > ${macOf(0x11)}`;
  const other = pass(net, 'vm2', `${from2} ip 10.0.0.2 > 198.51.100.7 proto 50`);
  assert.equal(other.text, 'want-ports', 'one at a time');
});

test('a rule can ask whether a destination was rewritten here', () => {
  const dnat = { action: 'dnat', destination: '192.0.2.80/32', targets: ['10.0.0.2'] };
  const hairpin = { action: 'snat', destinationRewritten: true, targets: ['10.0.0.254'] };
  const net = tenant(
    [{ action: 'reverse-snat' }, dnat],
    [{ action: 'reverse-dnat', after: 'continue' }, hairpin],
  );
  const first = pass(net, 'vm1', 'udp 10.0.0.1:5000 > 192.0.2.80:53');
  assert.match(first.text, /^udp 10\.0\.0\.254:\d+ > 10\.0\.0\.2:53$/);
  assert.equal(first.outcome.connection?.translations.length, 2);
  const port = /:(\d+) >/.exec(first.text)?.[1];
  const from2 = `${macOf(2)} > ${macOf(0x11)}`;
  const back = pass(net, 'vm2', `${from2} udp 10.0.0.2:53 > 10.0.0.254:${port}`);
  assert.equal(back.text, 'udp 192.0.2.80:53 > 10.0.0.1:5000');
  const plain = pass(net, 'vm1', 'udp 10.0.0.1:5000 > 198.51.100.7:53');
  assert.equal(plain.text, 'udp 10.0.0.1:5000 > 198.51.100.7:53');
});

test('an answer whose record is not known is told of, with who may know', () => {
  const net = masquerade();
  const { outcome } = pass(net, 'up', `${OUT} udp 198.51.100.7:53 > 192.0.2.1:4000`);
  assert.deepEqual(outcome.unreversed, {
    router: net.routerId('r'),
    address: ip('192.0.2.1'),
    port: 4_000,
  });
  const key: ConnectionKey | undefined = outcome.connection?.key;
  assert.equal(key && formatTuple(key.tuple), 'udp 198.51.100.7:53 > 192.0.2.1:4000');
});

test('the trace says what was translated, and which rules were not about the packet', () => {
  const net = masquerade();
  const { outcome, text } = pass(net, 'vm1', 'udp 10.0.0.1:5000 > 198.51.100.7:53');
  const lines = net.text(outcome);
  const port = portOf(text);
  assert.ok(
    lines.includes(`router r: translate source 10.0.0.1:5000 > 192.0.2.1:${port}`),
    lines.join('\n'),
  );
  assert.equal(
    textOf(outcome.sends[0]?.frame ?? net.bytes('udp 1.1.1.1:1 > 2.2.2.2:2')).length > 0,
    true,
  );
});
