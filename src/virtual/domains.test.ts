/** Domains against going through all links, and when they count as others than before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Domains } from './domains.ts';
import type { DeviceId, HostId } from './ids.ts';
import { deviceOf } from './port/view.ts';
import {
  BRIDGE_IDS,
  changesOf,
  PORT_IDS,
  ROUTER_IDS,
  topologies,
  topologyOf,
} from './topology.arbitrary.ts';
import type { Topology } from './topology.ts';

const seed = Number(process.env['SEED'] ?? 1);
const DEVICES: readonly DeviceId[] = [...BRIDGE_IDS, ...ROUTER_IDS];

/** Devices and hosts, by repeated looking at all ports. */
function slow(topology: Topology, first: DeviceId) {
  const devices = new Set<DeviceId>([first]);
  for (let before = 0; before < devices.size;) {
    before = devices.size;
    for (const id of PORT_IDS) {
      const port = topology.port(id);
      const peer = port?.peer === undefined ? undefined : topology.port(port.peer);
      if (port && peer && devices.has(deviceOf(port))) devices.add(deviceOf(peer));
    }
  }
  const hosts = new Map<HostId, number>();
  for (const id of PORT_IDS) {
    const port = topology.port(id);
    const at = topology.location(id)?.host;
    if (port && at && devices.has(deviceOf(port))) hosts.set(at, (hosts.get(at) ?? 0) + 1);
  }
  return { devices, hosts };
}
const sets = ({ devices, hosts }: ReturnType<typeof slow>) => ({
  devices: [...devices].sort(),
  hosts: [...hosts.keys()].sort(),
});

test('what is asked is what all links say now, asked early or late', () => {
  fc.assert(
    fc.property(
      topologies,
      fc.array(changesOf, { maxLength: 6 }),
      fc.boolean(),
      (topology, changes, early) => {
        for (const [i, change] of changes.entries()) {
          if (early) for (const device of DEVICES) topology.domain(device);
          topology.apply({ revision: 2 + i, rows: change(topology) });
        }
        for (const device of DEVICES) {
          const { devices, hosts } = topology.domain(device);
          assert.deepEqual(
            { devices: new Set(devices), hosts: new Map(hosts) },
            slow(topology, device),
          );
          for (const other of devices)
            assert.equal(topology.domain(other), topology.domain(device), 'one for all of it');
        }
        const again = topologyOf(topology.objects());
        for (const device of DEVICES) assert.deepEqual(slow(again, device), slow(topology, device));
      },
    ),
    { seed, numRuns: 1_000 },
  );
});

test('the stamp is another one whenever the devices or the set of hosts are others', () => {
  fc.assert(
    fc.property(topologies, fc.array(changesOf, { maxLength: 6 }), (topology, changes) => {
      const known = new Map<number, unknown>();
      for (const [i, change] of [...changes, () => []].entries()) {
        for (const device of DEVICES) {
          const { stamp } = topology.domain(device);
          const now = sets(slow(topology, device));
          assert.deepEqual(known.get(stamp) ?? now, now);
          known.set(stamp, now);
        }
        topology.apply({ revision: 2 + i, rows: change(topology) });
      }
    }),
    { seed, numRuns: 1_000 },
  );
});

test('a port more on a host is no other domain, the first and the last are', () => {
  const [a, b] = ['a', 'b'] as unknown as [DeviceId, DeviceId];
  const h = 'h' as HostId;
  let links: DeviceId[][] = [[a, b]];
  let explored = 0;
  const domains = new Domains({
    linked: (device) => {
      explored++;
      return links.flatMap((ends) => (ends.includes(device) ? ends : []));
    },
    carried: () => [],
  });
  const first = domains.of(a);
  assert.deepEqual([...first.devices], [a, b]);
  assert.equal(domains.of(b), first);
  assert.equal(explored, 2, 'each device once');
  const stamps = [first.stamp];
  for (const by of [1, 1, -1, -1] as const) {
    domains.count(b, h, by);
    stamps.push(domains.of(a).stamp);
  }
  const [none, one, two, less, gone] = stamps;
  assert(one !== none && two === one && less === two && gone !== less && gone !== none);
  assert.equal(explored, 2);
  links = [];
  domains.reset();
  assert.deepEqual([...domains.of(b).devices], [b]);
  assert.notEqual(domains.of(b).stamp, domains.of(a).stamp);
});
