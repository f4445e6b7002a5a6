/** For tests: routers with a load balancer each, behind which two hosts carry workloads. */
import type { HostId } from '../ids.ts';
import type { StoredObject } from '../kind.ts';
import type { ObjectOf } from '../kinds.ts';
import { planChecks } from '../plan/member-health.ts';
import { asHost, create, update, World } from '../plan/world.fixture.ts';
import type { Living } from './assign.ts';

export const MEMBERS = ['10.0.0.11', '10.0.0.12', '10.0.9.9'] as const;

/** `r0` with bridge `b0`: `h1` carries 10.0.0.11, `h2` 10.0.0.12, nobody 10.0.9.9. */
export class Balanced extends World {
  readonly h1 = this.create('host', { name: 'h1' }).id as HostId;
  readonly h2 = this.create('host', { name: 'h2' }).id as HostId;
  #checks = 0;

  constructor() {
    super();
    this.create('health-monitor', { name: 'hm' });
    this.network('0');
  }

  network(n: string): void {
    this.run([
      create('bridge', { name: `b${n}` }),
      create('router', { name: `r${n}` }),
      create('port', { name: `r${n}-b`, router: `r${n}`, networks: ['10.0.0.1/24'] }),
      create('port', { name: `b${n}-r`, bridge: `b${n}`, peer: `r${n}-b` }),
    ]);
    for (const [host, last] of [
      [this.h1, '11'],
      [this.h2, '12'],
    ] as const)
      this.workload(`vm${n}-${last}`, host, {
        bridge: `b${n}`,
        addresses: [{ mac: `02:00:00:00:0${n}:${last}`, ip: `10.0.0.${last}` }],
      });
    this.run([
      create('load-balancer', { name: `lb${n}`, router: `r${n}` }),
      create('pool', { name: `pool${n}`, loadBalancer: `lb${n}`, healthMonitor: 'hm' }),
      create('vip', {
        ...{ name: `vip${n}`, loadBalancer: `lb${n}`, pool: `pool${n}` },
        ...{ address: '192.0.2.1', port: 80 },
      }),
      ...MEMBERS.map((address) =>
        create('pool-member', { name: `m${n} ${address}`, pool: `pool${n}`, address, port: 80 }),
      ),
    ]);
  }
  /** A port of a host that is up there. */
  workload(name: string, host: string, fields: object): string {
    const { id } = this.create('port', { name, host, interface: name, ...fields });
    this.run([update('location', id, { interface: name })], asHost(host));
    return id;
  }

  living(...alive: readonly string[]): Living {
    return { alive: new Set(alive), unsure: new Set() };
  }
  /** Sweeps once with these hosts alive; answers how many rows that changed. */
  sweep(living: Living, now = 1_000): number {
    const planned = planChecks(this.topology, {
      living,
      now,
      newId: () => `${(++this.#checks).toString(16).padStart(8, 'c')}-0000-4000-8000-000000000000`,
      nextFloodKey: () => 0,
      nextTunnelKey: () => 0,
    });
    if (!planned.ok) throw new Error(JSON.stringify(planned.faults));
    const revision = this.topology.revision + 1;
    const rows = planned.rows.map((row) =>
      row.put === undefined ? row : { ...row, put: { ...row.put, revision } },
    );
    this.topology.apply({ revision, rows });
    return rows.length;
  }

  member(name: string): string {
    return this.topology.named('pool-member', name)[0] ?? '';
  }
  health(name: string): (ObjectOf<'member-health'> & StoredObject) | undefined {
    return this.topology.get('member-health', this.member(name)) as never;
  }
  /** By member: the name of the host that checks it. */
  checkers(n = '0'): (string | undefined)[] {
    return MEMBERS.map((address) => {
      const host = this.health(`m${n} ${address}`)?.host;
      return host && this.topology.get('host', host)?.name;
    });
  }
  services(): (ObjectOf<'port'> & StoredObject)[] {
    const ports = [...this.topology.list('port')] as ObjectOf<'port'>[];
    return ports.filter(({ service }) => service === true) as never;
  }
}
