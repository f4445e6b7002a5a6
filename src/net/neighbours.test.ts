/** Questions and answers between neighbours, as a kernel sends them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { frameFault } from './fault.ts';
import { decodeFrame, encodeFrame } from './frame.ts';
import { ALL_NODES6, parseIp4, parseIp6, UNSPECIFIED4, UNSPECIFIED6 } from './ip.ts';
import { parseMac, ZERO_MAC } from './mac.ts';
import { arpReply, arpRequest } from './neighbours.ts';
import { neighbourAdvertisement, neighbourSolicitation } from './neighbours.ts';
import { linkAddress, neighbourFault } from './packet/icmp6.ts';
import { readPcap } from './pcap.ts';
import { describeFrame } from './text.ts';

const macA = parseMac('02:00:00:00:00:0a') ?? ZERO_MAC;
const macB = parseMac('02:00:00:00:00:0b') ?? ZERO_MAC;
const a4 = parseIp4('10.0.0.1') ?? UNSPECIFIED4;
const b4 = parseIp4('10.0.0.2') ?? UNSPECIFIED4;
const a6 = parseIp6('fd00::1') ?? UNSPECIFIED6;
const b6 = parseIp6('fd00::2') ?? UNSPECIFIED6;

test('to the byte what the Linux kernel sends', () => {
  const file = readPcap(readFileSync(new URL('./testdata/kernel.pcap', import.meta.url)));
  assert.ok('records' in file);
  const captured = file.records.map(({ frame }) => Buffer.from(frame).toString('hex'));
  const ours = [
    arpRequest({ senderMac: macA, senderIp: a4, targetIp: b4 }),
    arpReply({ senderMac: macB, senderIp: b4, targetMac: macA, targetIp: a4 }),
    neighbourSolicitation({ senderMac: macA, senderIp: a6, target: b6 }),
    neighbourAdvertisement({ mac: macB, target: b6, to: { mac: macA, ip: a6 } }),
  ];
  for (const layers of ours) {
    const bytes = encodeFrame(layers);
    const hex = Buffer.from(bytes).toString('hex');
    assert.ok(captured.includes(hex), describeFrame(bytes));
  }
});

test('duplicate address detection, unsolicited advertisements and tags', () => {
  const dad = encodeFrame(
    neighbourSolicitation({ senderMac: macA, senderIp: UNSPECIFIED6, target: a6, tci: 5 }),
  );
  assert.equal(frameFault(dad), undefined);
  const frame = decodeFrame(dad);
  assert.equal(frame?.ethernet.tci, 5);
  assert.ok(frame?.transport?.kind === 'neighbour' && frame.network?.kind === 'ipv6');
  assert.equal(linkAddress(frame.transport), undefined);
  assert.equal(neighbourFault(frame.network, frame.transport), undefined);
  const all = { mac: parseMac('33:33:00:00:00:01') ?? ZERO_MAC, ip: ALL_NODES6 };
  const told = decodeFrame(
    encodeFrame(neighbourAdvertisement({ mac: macA, target: a6, to: all, router: true })),
  );
  assert.ok(told?.transport?.kind === 'neighbour' && told.network?.kind === 'ipv6');
  assert.equal(told.transport.flags, 0xa0000000);
  assert.equal(neighbourFault(told.network, told.transport), undefined);
});
