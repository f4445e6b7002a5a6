/** A port's row as the walk sees it: numbers, not text. */
import { linkLocalOf } from '#net/ip.ts';
import { parseMac } from '#net/mac.ts';
import { parseNetwork, type Prefix } from '#net/prefix.ts';
import type { ObjectOf } from '../kinds.ts';
import type { ReadyPort } from '../ready.ts';
import type { PortView } from '../view.ts';
import { allowedOf } from './allowed.ts';

type PortRow = ObjectOf<'port'>;

function networkOf(text: string): Prefix {
  const network = parseNetwork(text);
  if (network === undefined) throw new Error(`port: ${text} is stored but not valid`);
  return network;
}

/** `peer`: the port it is linked to, where the other end agrees. */
export function viewOf(row: PortRow, peer: PortRow | undefined, ready: ReadyPort): PortView {
  const { id, name, adminStateUp } = row;
  const { inboundFilter, outboundFilter } = row;
  const filters = { inboundFilter, outboundFilter };
  const common = {
    id,
    ready,
    name,
    adminStateUp,
    peer: peer?.id,
    peerType: peer?.type,
    ...filters,
  };
  if (row.type === 'bridge') {
    const { bridge, hairpin, vlan = 0 } = row;
    const allowed = allowedOf(row, peer !== undefined);
    return { ...common, type: 'bridge', bridge, hairpin, vlan, allowed };
  }
  const mac = parseMac(row.mac);
  if (mac === undefined) throw new Error(`port ${id}: ${row.mac} is stored but not valid`);
  const networks = row.networks.map(networkOf);
  const { router, mtu, service = false } = row;
  const linkLocal = linkLocalOf(mac);
  return { ...common, type: 'router', router, mac, networks, linkLocal, mtu, service };
}

/** Whether two views differ in more than their name. */
export function differ(a: PortView | undefined, b: PortView | undefined): boolean {
  if (a === undefined || b === undefined) return a !== b;
  if (a.peer !== b.peer || a.peerType !== b.peerType || a.adminStateUp !== b.adminStateUp)
    return true;
  if (a.inboundFilter !== b.inboundFilter || a.outboundFilter !== b.outboundFilter) return true;
  if (a.type === 'bridge')
    return (
      a.bridge !== b.bridge ||
      a.hairpin !== b.hairpin ||
      a.vlan !== b.vlan ||
      a.allowed?.text !== b.allowed?.text
    );
  if (b.type === 'bridge' || a.router !== b.router || a.mac !== b.mac || a.mtu !== b.mtu)
    return true;
  const text = ({ networks }: typeof a): string =>
    networks.map(({ address, length }) => `${address}/${length}`).join();
  return text(a) !== text(b);
}

/** Whether a port is another member of its bridge than before: what floods depend on. */
export const sameMember = (a: PortView | undefined, b: PortView | undefined): boolean =>
  a?.type === 'bridge' &&
  b?.type === 'bridge' &&
  a.bridge === b.bridge &&
  a.adminStateUp === b.adminStateUp &&
  a.peer === b.peer &&
  a.peerType === b.peerType &&
  a.outboundFilter === b.outboundFilter &&
  a.inboundFilter === b.inboundFilter &&
  a.vlan === b.vlan;

/** The device of a port. */
export const deviceOf = (port: PortView) => (port.type === 'bridge' ? port.bridge : port.router);
