/**
 * What experiments share that run a whole edge on the kernel datapath in this process: objects, a
 * clock that can be moved on, and what it all weighs.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Datapath } from '#datapath/datapath.ts';
import { Edge } from '#agent/edge.ts';
import type { EbpfDatapath, EbpfOptions } from '#datapath/ebpf/open.ts';
import { versionDir } from '#datapath/ebpf/pins.ts';
import type { Testbed } from '#datapath/ebpf/testbed.ts';
import { openPinned } from '#os/bpf.ts';
import { closeFd } from '#os/libc.ts';
import type { HostId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import type { TopologyObject } from '#virtual/topology.ts';

export const id = (kind: number, n: number) =>
  `0000000${kind}-0000-4000-8000-${String(n).padStart(12, '0')}`;
export const mac = (n: number) => `02:00:00:00:00:0${n}`;
export const object = (kind: KindName, fields: object): TopologyObject => ({
  kind,
  object: { revision: 1, adminStateUp: true, ...fields } as unknown as StoredObject,
});

export const post = () => {};
export const print = (line: string): void => console.log(line);
export const ms = (from: number, to = performance.now()): string => `${(to - from).toFixed(1)} ms`;
/** Of all threads of this process: on a machine that others use, time alone says little. */
export const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
export const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** What the kernel says the pinned maps take. */
export function mapBytes(runDir: string): number {
  const dir = join(versionDir(runDir), 'maps');
  return readdirSync(dir)
    .map((name) => {
      const fd = openPinned(join(dir, name));
      if (fd === undefined) return 0;
      const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1');
      closeFd(fd);
      return Number(/memlock:\s*(\d+)/.exec(info)?.[1] ?? 0);
    })
    .reduce((sum, n) => sum + n, 0);
}

/** A datapath that notes when it was told what, and whose clock can be moved on. */
export function watched(datapath: EbpfDatapath) {
  const seen = { staleMs: 0, writesMs: 0, aheadMs: 0, beforeRemoval: () => {} };
  const told: Pick<Datapath, 'invalidate' | 'remove' | 'now'> = {
    invalidate(refs) {
      const startMs = performance.now();
      datapath.invalidate(refs);
      seen.staleMs = performance.now();
      seen.writesMs = seen.staleMs - startMs;
    },
    remove(refs) {
      seen.beforeRemoval();
      datapath.remove(refs);
    },
    now: () => datapath.now() + seen.aheadMs,
  };
  const proxy = new Proxy(datapath, {
    get(target, name) {
      if (name in told) return told[name as keyof typeof told];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { proxy, seen };
}

/** An edge of host `host` over the kernel's datapath, that knows a network and its interfaces. */
export function openEdge(
  testbed: Testbed,
  host: HostId,
  objects: readonly TopologyObject[],
  sizes: Partial<EbpfOptions>,
) {
  const datapath = testbed.open(sizes);
  const { proxy, seen } = watched(datapath);
  const edge = new Edge({ host, datapath: proxy, now: () => proxy.now(), seed: 1 });
  const interfaces = ['v1', 'v2', 'v3'].map((name) => ({ name, index: testbed.port(name) }));
  edge.handle({ type: 'interfaces', interfaces }, post);
  const event = (what: object) => edge.handle({ type: 'event', event: what as never }, post);
  event({ type: 'learned', all: true, put: [], forget: [] });
  event({ type: 'snapshot', revision: 1, objects });
  return { datapath, edge, seen };
}
