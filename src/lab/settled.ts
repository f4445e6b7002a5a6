/**
 * Whether agents have come to rest after what was last written. `--wait` tells that a change is in
 * force, and not what follows from it: only when a port is up does its host tell where it is, which
 * is a further change, and until others have that they send to where it was.
 */
import type { Client } from '#client/types.ts';

/** What is there besides the network that was written. */
export interface Running {
  /** Names of hosts with an agent. */
  readonly hosts: ReadonlySet<string>;
  /** Interfaces that ports may take, each with the name of its host. */
  readonly interfaces: ReadonlyMap<string, string>;
}

const textOf = (object: object, field: string): string | undefined => {
  const value: unknown = Object.getOwnPropertyDescriptor(object, field)?.value;
  return typeof value === 'string' ? value : undefined;
};

/** What is yet to come, in words; none: every agent is at the newest revision, places included. */
export async function whatIsToCome(client: Client, running: Running): Promise<string[]> {
  const ports = await client.listAll('port');
  const places = new Map((await client.listAll('location')).map((place) => [place.id, place]));
  // Asked last: what is listed by now is not newer.
  const { revision, hosts } = await client.status();
  return hosts
    .filter(({ name }) => running.hosts.has(name))
    .flatMap(({ host, name, state, report }) => {
      if (state !== 'alive' || report === undefined) return [`${name} has not reported`];
      if (report.revision < revision) return [`${name} is at ${report.revision}, not ${revision}`];
      const up = new Set(report.portsUp);
      return ports.flatMap((port) => {
        const link = textOf(port, 'interface') ?? '';
        const isDue = textOf(port, 'host') === host && running.interfaces.get(link) === name;
        if (!up.has(port.id)) return isDue ? [`${name} has not taken up ${port.id}`] : [];
        const place = places.get(port.id);
        const isTold =
          place !== undefined &&
          textOf(place, 'host') === host &&
          textOf(place, 'interface') === link;
        return isTold ? [] : [`${name} has not told where ${port.id} is`];
      });
    });
}
