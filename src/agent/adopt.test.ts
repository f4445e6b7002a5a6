/** When an adopted flow is what would be installed now. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Actions, DpPort, Output, TunnelKey, DpPeer } from '#flow/flow.ts';
import type { Ip4 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { sameActions } from './adopt.ts';

const port = (n: number, vlan?: number): Output =>
  vlan === undefined ? { port: n as DpPort } : { port: n as DpPort, vlan };
const tunnel = { key: 5 as TunnelKey, remote: 7 as DpPeer };

test('actions are the same when they do the same to every frame', () => {
  const same: [Actions, Actions][] = [
    [{ outputs: [port(1), tunnel] }, { outputs: [tunnel, port(1)] }],
    [{ outputs: [port(1, 5)] }, { outputs: [port(1)], vlan: 5 }],
    [
      { outputs: [port(1, 5), tunnel], vlan: 0 },
      { outputs: [{ ...tunnel, vlan: 0 }, port(1)], vlan: 5 },
    ],
  ];
  for (const [a, b] of same) assert.ok(sameActions(a, b) && sameActions(b, a));
});

test('any difference is one', () => {
  const all: Actions[] = [
    { outputs: [port(1), tunnel] },
    { outputs: [port(1), tunnel], vlan: 0 },
    { outputs: [port(1), tunnel], vlan: 5 },
    { outputs: [port(1, 5), tunnel] },
    { outputs: [port(1), { ...tunnel, vlan: 5 }] },
    { outputs: [port(1, 0), tunnel] },
    { outputs: [port(2), tunnel] },
    { outputs: [port(1)] },
    { outputs: [port(1), tunnel], decTtl: 1 },
    { outputs: [port(1), tunnel], decTtl: 2 },
    { outputs: [port(1), tunnel], mtu: 1500 },
    { outputs: [port(1), tunnel], mtu: 1400 },
    { outputs: [port(1), tunnel], ethSrc: 1 as Mac },
    { outputs: [port(1), tunnel], ethDst: 1 as Mac },
    { outputs: [port(1), tunnel], ipSrc: 1 as Ip4 },
    { outputs: [port(1), tunnel], ipDst: 1 as Ip4 },
    { outputs: [port(1), tunnel], tpSrc: 1 },
    { outputs: [port(1), tunnel], tpDst: 1 },
    { outputs: [port(1), tunnel], dscp: 1 },
    { outputs: [port(1), { ...tunnel, rewrite: { dscp: 1 } }] },
    { outputs: [{ ...port(1), rewrite: { dscp: 1 } }, tunnel] },
    { outputs: [], drop: 'same-port' },
  ];
  for (const [i, a] of all.entries())
    for (const [j, b] of all.entries()) assert.equal(sameActions(a, b), i === j, `${i} and ${j}`);
});
