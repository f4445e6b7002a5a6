/** For tests of port security: a bridge with secured ports, and what is refused there as text. */
import assert from 'node:assert/strict';
import { encodeFrame, type Layers } from '#net/frame.ts';
import { mac, macOf, Network } from '../network.fixture.ts';
import type { Outcome } from '../outcome.ts';

export const M1 = macOf(1);
export const M2 = macOf(2);
export const VIRTUAL = macOf(0x0a);
export const STRANGER = macOf(0x66);
export const ALL = 'ff:ff:ff:ff:ff:ff';
export const LOCAL1 = 'fe80::ff:fe00:1';

/**
 * A bridge at a router. a (MAC 1) is secured: 10.0.0.1, fd00::1, beside them 10.0.0.100 at any
 * MAC of its own, and 10.0.5.0/24 and fd00:5::/64 at the virtual MAC. b (MAC 2) is secured too, c
 * is not.
 */
export function network(): Network {
  const net = new Network()
    .bridge('b0')
    .router('r0')
    .bridgePort('a', 'b0', {
      addresses: [
        { mac: M1, ip: '10.0.0.1' },
        { mac: M1, ip: 'fd00::1' },
      ],
      security: 'on',
      allowedAddresses: [
        { ip: '10.0.0.100' },
        { ip: '10.0.5.0/24', mac: VIRTUAL },
        { ip: 'fd00:5::/64', mac: VIRTUAL },
      ],
    })
    .bridgePort('b', 'b0', {
      addresses: [
        { mac: M2, ip: '10.0.0.2' },
        { mac: M2, ip: 'fd00::2' },
      ],
      security: 'on',
      allowedAddresses: [{ ip: '10.0.0.0/16' }, { ip: 'fd00::/16' }],
    })
    .bridgePort('c', 'b0')
    .bridgePort('b0-r0', 'b0')
    .routerPort('r0-b0', 'r0', 0x11, '10.0.0.254/24', 'fd00::254/64')
    .link('b0-r0', 'r0-b0');
  net.defaults = { src: mac(M1), dst: mac(macOf(0x11)) };
  return net;
}

export const SECURITY = /^(?:spoofed-|dhcp-server|router-adv)/;
/** The reason for which port security drops a frame, and what it says about it; '': let in. */
export function refusal({ verdict, steps, claims, sends }: Outcome): string {
  if (verdict.kind !== 'drop' || !SECURITY.test(verdict.reason)) return '';
  assert.deepEqual([claims, sends], [[], []], 'nothing comes of what is refused');
  return `${verdict.reason} ${steps.find(({ did }) => did === 'refuse')?.detail}`;
}
export type Case = readonly [frame: string | Layers, expected: string];
export function check(net: Network, from: string, cases: readonly Case[]): void {
  for (const [frame, expected] of cases) {
    const bytes = typeof frame === 'string' ? net.bytes(frame) : encodeFrame(frame);
    const text = typeof frame === 'string' ? frame : JSON.stringify(frame);
    assert.equal(refusal(net.send(from, bytes)), expected, `${from}: ${text}`);
  }
}
