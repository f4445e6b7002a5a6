/**
 * What only one object can have at a time: names of hosts and zones, interfaces, VLANs of a bridge,
 * addresses of a bridge or of a router, positions in a chain. Whoever takes such a thing from
 * another comes after it, or together with it. The rules of the kinds (`check`) decide; this only
 * says which objects meet.
 */
import type { KindName, StoredObject, View } from '../kind.ts';
import type { ObjectOf } from '../kinds.ts';
import { heldBy } from '../port/rules.ts';

type Port = ObjectOf<'port'>;

/** What an object has to itself, in the state of `view`. */
export function claimsOf(kind: KindName, object: StoredObject, view: View): string[] {
  if (kind === 'host' || kind === 'tunnel-zone') return [`name/${kind}/${object.name}`];
  if (kind === 'rule') {
    const { chain, position } = object as ObjectOf<'rule'>;
    return [`position/${chain}/${position}`];
  }
  return kind === 'port' ? claimsOfPort(object as Port, view) : [];
}

function claimsOfPort(port: Port, view: View): string[] {
  const claims: string[] = [];
  if (port.host !== undefined) claims.push(`interface/${port.host}/${port.interface}`);
  if (port.peer !== undefined) claims.push(`end/${port.peer}`, `end/${port.id}`);
  if (port.type === 'bridge') {
    if (port.vlan !== undefined) claims.push(`vlan/${port.bridge}/${port.vlan}`);
    return [...claims, ...heldIn(port.bridge, port.addresses)];
  }
  const held = heldBy(port);
  for (const text of port.networks) claims.push(`address/${port.router}/${text.split('/')[0]}`);
  const peer = view.get('port', port.peer ?? '') as Port | undefined;
  return peer?.type === 'bridge' ? [...claims, ...heldIn(peer.bridge, held)] : claims;
}

const heldIn = (
  bridge: string,
  held: readonly { readonly mac: string; readonly ip?: string | undefined }[],
): string[] => [
  ...new Set(
    held.flatMap(({ mac, ip }) => [
      `mac/${bridge}/${mac}`,
      ...(ip === undefined ? [] : [`ip/${bridge}/${ip}`]),
    ]),
  ),
];
