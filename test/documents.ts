/**
 * Documents of a network of any size, made by a seed: tenants that use the same names, each with
 * bridges, a router, ports bound to hosts or linked to the router, and routes.
 */
import { stringify } from 'yaml';
import { chances } from '#cli/documents/network.fixture.ts';

type Fields = Readonly<Record<string, unknown>>;

const PORTS_PER_BRIDGE = 12;
const BRIDGES_PER_TENANT = 4;
const HOSTS = 20;
const hex = (n: number): string => n.toString(16).padStart(2, '0');

function tenantDocuments(t: number, label: string): Fields[] {
  const tenant = `tenant-${t}`;
  const labels = [label];
  const documents: Fields[] = [{ kind: 'router', name: 'gateway', tenant, labels }];
  for (let b = 0; b < BRIDGES_PER_TENANT; b++) {
    const bridge = { name: `net-${b}`, tenant };
    documents.push({ kind: 'bridge', ...bridge, labels });
    const down = `to-net-${b}`;
    const place = { router: { name: 'gateway', tenant }, labels };
    documents.push(
      { kind: 'port', name: 'to-gateway', bridge, peer: { name: down, tenant }, labels },
      { kind: 'port', name: down, ...place, networks: [`10.${b}.0.1/24`] },
      {
        kind: 'route',
        ...place,
        destination: `172.${16 + b}.0.0/16`,
        port: down,
        gateway: `10.${b}.0.254`,
      },
    );
    for (let p = 2; p < PORTS_PER_BRIDGE; p++)
      documents.push({
        kind: 'port',
        name: `vm-${p}`,
        bridge,
        host: `host-${(t + b + p) % HOSTS}`,
        interface: `t${t}b${b}p${p}`,
        addresses: [
          { mac: `02:00:${hex(t >> 8)}:${hex(t & 255)}:${hex(b)}:${hex(p)}`, ip: `10.${b}.0.${p}` },
        ],
        labels,
      });
  }
  return documents;
}

/** At least so many documents, in an order that no reference follows. */
export function networkDocuments(count: number, seed: number, label = 'made-by=test'): Fields[] {
  const documents: Fields[] = Array.from({ length: HOSTS }, (_, h) => ({
    kind: 'host',
    name: `host-${h}`,
    labels: [label],
  }));
  const members = documents.map(({ name }, h) => ({ host: name, address: `192.0.2.${h + 1}` }));
  documents.push({ kind: 'tunnel-zone', name: 'underlay', members, labels: [label] });
  for (let t = 0; documents.length < count; t++) documents.push(...tenantDocuments(t, label));
  const chance = chances(seed);
  const order = documents.map((document) => ({ document, place: chance() }));
  return order.sort((a, b) => a.place - b.place).map(({ document }) => document);
}

/** As one file. */
export const yamlOf = (documents: readonly Fields[]): string =>
  documents.map((document) => stringify(document)).join('---\n');
