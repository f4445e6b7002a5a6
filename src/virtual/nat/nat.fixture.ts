/**
 * A tenant's router between two networks and the outside, with records that are kept as walks open
 * connections; packets leave as they would on the wire, so that answers can be made of them.
 */
import assert from 'node:assert/strict';
import { ICMP_ECHO_REQUEST } from '#net/packet/icmp.ts';
import { readdress, readdressQuoted } from '#net/readdress.ts';
import { describeFrame } from '#net/text.ts';
import {
  hashOfConnection,
  type ConnectionKey,
  type ConnectionsView,
  type FoundConnection,
} from '../connection.ts';
import { macOf, mac, Network, type Fields } from '../network.fixture.ts';
import type { Outcome } from '../outcome.ts';

/** Records as a host keeps them; none ever ends. */
export class Records implements ConnectionsView {
  readonly #known = new Map<string, FoundConnection>();
  find(zone: ConnectionKey['zone'], tuple: ConnectionKey['tuple']): FoundConnection | undefined {
    return this.#known.get(hashOfConnection({ zone, tuple }));
  }
  /** What a walk opened is known. */
  keep({ connection }: Outcome): void {
    const [opening] = connection?.opens ?? [];
    if (connection?.key === undefined || opening === undefined) return;
    const { translations } = connection;
    const of = { ref: { slot: 1, generation: 1 }, translations };
    this.#known.set(hashOfConnection(connection.key), { ...of, direction: 'forward' });
    this.#known.set(hashOfConnection(opening.returns), { ...of, direction: 'return' });
  }
}

/** The frame that leaves, in text without MACs and payload; a verdict that is no forwarding. */
export interface Left {
  readonly outcome: Outcome;
  readonly bytes: Uint8Array;
  readonly text: string;
}

const isRequest = (bytes: Uint8Array): boolean => bytes[34] === ICMP_ECHO_REQUEST;

export const textOf = (bytes: Uint8Array): string =>
  describeFrame(bytes)
    .replace(/^\S+ > \S+ /, '')
    .replace(/ (?:data|length|ttl|tos|seq|syn|ack|noflags)\b.*$/, '');

/** Sends, keeps what is opened, and answers how the frame leaves. */
export function pass(net: Network, port: string, frame: string | Uint8Array): Left {
  const bytes = net.bytes(frame);
  const outcome = net.send(port, bytes);
  (net.connections as Records).keep(outcome);
  const { verdict, rewrites, quoted } = outcome;
  if (verdict.kind !== 'forward') {
    const why = verdict.kind === 'drop' ? verdict.reason : verdict.kind;
    return { outcome, bytes, text: why };
  }
  const icmp = bytes[23] === 1;
  const port2 = icmp ? rewrites.tpDst : undefined;
  const ends = {
    src: rewrites.ipSrc,
    dst: rewrites.ipDst,
    srcPort: icmp && isRequest(bytes) ? port2 : rewrites.tpSrc,
    dstPort: icmp && !isRequest(bytes) ? port2 : rewrites.tpDst,
  };
  const inner = quoted === undefined ? bytes : readdressQuoted(bytes, quoted);
  assert(inner !== undefined, 'the error can be changed');
  const out = readdress(inner, ends);
  assert(out !== undefined, 'there is a packet');
  return { outcome, bytes: out, text: textOf(out) };
}

/** vm1 (10.0.0.1), vm2 (10.0.0.2) at bridge blue; r-blue 10.0.0.254, up 192.0.2.1, peer .9. */
export function tenant(pre: readonly Fields[], post: readonly Fields[]): Network {
  const net = new Network()
    .bridge('blue')
    .router('r')
    .bridgePort('vm1', 'blue', { addresses: [{ mac: macOf(1), ip: '10.0.0.1' }] })
    .bridgePort('vm2', 'blue', { addresses: [{ mac: macOf(2), ip: '10.0.0.2' }] })
    .bridgePort('blue-r', 'blue')
    .routerPort('r-blue', 'r', 0x11, '10.0.0.254/24')
    .routerPort('up', 'r', 0x13, '192.0.2.1/24')
    .link('blue-r', 'r-blue')
    .locate('up')
    .knows('up', '192.0.2.9', 9);
  net.route('default', 'r', '0.0.0.0/0', { port: net.port('up'), gateway: '192.0.2.9' });
  net.defaults = { src: mac(macOf(1)), dst: mac(macOf(0x11)) };
  net.connections = new Records();
  net.chain('pre', ...pre).filter('router', 'r', 'inboundFilter', 'pre');
  net.chain('post', ...post).filter('router', 'r', 'outboundFilter', 'post');
  return net;
}
