/**
 * The underlay addresses by which a set of hosts reach each other. Data only; the web may import
 * it.
 */
import { z } from 'zod';
import { id, labels, objectName, underlayIp } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';

/** Hosts of one tunnel zone; more are refused. */
export const ZONE_MEMBERS_MAX = 4096;

export const Member = z.strictObject({
  host: id('host').describe('The member.'),
  address: underlayIp.describe(
    'Its IPv4 or IPv6 address on the underlay. Members reach each other by one family: two whose addresses are of different ones do not.',
  ),
});

export const TunnelZone = z
  .strictObject({
    id: id('tunnel-zone'),
    name: objectName.describe('Its name, unique among zones.'),
    labels,
    members: z
      .array(Member)
      .max(ZONE_MEMBERS_MAX, `must hold at most ${ZONE_MEMBERS_MAX} members`)
      .default([])
      .describe('The hosts of the zone and their tunnel addresses.'),
  })
  .meta({ id: 'TunnelZone', description: 'Hosts that reach each other over one underlay.' });
export type TunnelZone = z.output<typeof TunnelZone>;

function check(next: StoredObject, view: View): Fault[] {
  const zone = next as unknown as TunnelZone;
  const faults: Fault[] = [];
  for (const other of view.list('tunnel-zone'))
    if (other.id !== zone.id && other.name === zone.name)
      faults.push({ path: 'name', message: `is the name of tunnel zone ${other.id} already` });
  const hosts = new Set<string>();
  const addresses = new Set<string>();
  for (const [i, member] of zone.members.entries()) {
    if (hosts.has(member.host))
      faults.push({ path: `members.${i}.host`, message: 'is a member twice' });
    if (addresses.has(member.address))
      faults.push({ path: `members.${i}.address`, message: 'is used by two members' });
    hosts.add(member.host);
    addresses.add(member.address);
  }
  return faults;
}

export const tunnelZoneKind = {
  name: 'tunnel-zone',
  path: 'tunnel-zones',
  about: 'Hosts that reach each other over one underlay.',
  schema: TunnelZone,
  references: { 'members.host': { kind: 'host', onDelete: 'clear' } },
  columns: ['name', 'members', 'labels', 'id'],
  assigned: [],
  immutable: [],
  writer: 'operator',
  operatorFields: [],
  check,
} as const satisfies Kind;
