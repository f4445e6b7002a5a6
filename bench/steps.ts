/**
 * What a first packet costs, step by step, in one process: parse, walk, compile, index, and all of
 * it together over the reference datapath. Run: `npm run bench:steps`; what is beside peers is in
 * `npm run bench`. Figures are printed, never asserted.
 */
import { cpus, totalmem } from 'node:os';
import { bench, do_not_optimize, group, run } from 'mitata';
import { compile, type Bindings } from '#flow/compile.ts';
import type { DpPort } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { headersOf, parseKey } from '#flow/parse.ts';
import { FlowTable } from '#flow/table.ts';
import { simulate } from '#virtual/simulate.ts';
import {
  expectForward,
  frameOf,
  interfaceOf,
  ipText,
  macText,
  openEdge,
  portId,
  PORTS,
  requestOf,
  routerMac,
  ROUTES,
  topologyOf,
} from './network.ts';

const plain = topologyOf(0);
const large = topologyOf(ROUTES);
const udp = (net: number, n: number) => `udp ${ipText(1, 0)}:1000 > ${ipText(net, n)}:2000`;
const across = `${macText(1, 0)} > ${routerMac(1)} ${udp(2, 7)}`;
const bridged = expectForward(
  requestOf(plain, `${macText(1, 0)} > ${macText(1, 7)} ${udp(1, 7)}`),
  portId(1, 7),
);
const routed = expectForward(requestOf(plain, across), portId(2, 7));
const routedLarge = expectForward(requestOf(large, across), portId(2, 7));
const gateway = expectForward(
  requestOf(large, `${macText(1, 0)} > ${routerMac(1)} udp ${ipText(1, 0)}:1 > 20.0.1.9:2`),
  portId(2, 1),
);
const routed6 = expectForward(
  requestOf(plain, `${macText(1, 0)} > ${routerMac(1)} udp [fd00:1::0]:1 > [fd00:2::7]:2`),
  portId(2, 7),
);
const question = requestOf(plain, `arp who-has ${ipText(1, 7)} tell ${ipText(1, 0)}`);

const key = new Uint8Array(KEY_SIZE);
parseKey(routed.bytes, key);
const bindings: Bindings = {
  ready: (port) => plain.port(port)?.ready,
  dpPort: () => 7 as DpPort,
  remote: () => undefined,
  floodMembers: () => undefined,
  routerHosts: () => undefined,
  mtu: () => undefined,
};
const outcome = simulate(routed);
const { tags } = outcome;
const cause = { steps: outcome.steps, verdict: outcome.verdict };
const table = new FlowTable({ slots: 65_536, idleMs: 1, ageMaxMs: 1, seed: 1 });

group('one step', () => {
  bench('parseKey', () => do_not_optimize(parseKey(routed.bytes, key)));
  bench('headersOf', () => do_not_optimize(headersOf(key)));
  bench('simulate: unicast through a bridge', () => do_not_optimize(simulate(bridged)));
  bench('simulate: ARP answered by the bridge', () => do_not_optimize(simulate(question)));
  bench('simulate: bridge, router, bridge', () => do_not_optimize(simulate(routed)));
  bench('simulate: the same, IPv6', () => do_not_optimize(simulate(routed6)));
  bench(`simulate: the same, ${ROUTES} routes in the router`, () =>
    do_not_optimize(simulate(routedLarge)));
  bench('simulate: by one of these routes, through a gateway', () =>
    do_not_optimize(simulate(gateway)));
  bench('compile', () => do_not_optimize(compile(outcome, routed.ingress, bindings)));
  bench('flow table: add and remove', () => {
    const added = table.add({ key, fields: outcome.seen, tags, cause, now: 0 });
    if (added !== undefined) table.remove(table.retire([added.ref]));
  });
});

/** Every frame another pair of addresses, so every frame a new flow. */
function setUp(
  label: string,
  routes: number,
  write: (frame: Uint8Array, n: number) => DpPort,
): void {
  const { datapath, pump } = openEdge(routes);
  const frame = frameOf(
    label.startsWith('routed') ? across : `${macText(1, 0)} > ${macText(1, 7)} ${udp(1, 7)}`,
  );
  let n = 0;
  bench(label, () => {
    datapath.receive(write(frame, n++), frame);
    pump();
  });
}
const pairOf = (n: number): readonly [number, number] => {
  const from = n % PORTS;
  return [from, (from + 1 + ((n / PORTS) | 0)) % PORTS];
};
const put16 = (frame: Uint8Array, at: number, value: number): void => {
  frame[at] = value >> 8;
  frame[at + 1] = value & 255;
};
const bridgedPair = (frame: Uint8Array, n: number): DpPort => {
  const [from, to] = pairOf(n);
  put16(frame, 10, from);
  put16(frame, 4, to);
  return interfaceOf(1, from);
};
/** Source MAC, and the last two bytes of the IPv4 destination. */
const routedPair = (frame: Uint8Array, n: number): DpPort => {
  const [from, to] = pairOf(n);
  put16(frame, 10, from);
  put16(frame, 32, to);
  return interfaceOf(1, from);
};
group('one first packet, from the frame to the installed flow (reference datapath)', () => {
  setUp('bridged flow set-up', 0, bridgedPair);
  setUp('routed flow set-up', 0, routedPair);
  setUp(`routed flow set-up, ${ROUTES} routes`, ROUTES, routedPair);
});

console.log(
  `${cpus().length} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
);
await run({ colors: false });
