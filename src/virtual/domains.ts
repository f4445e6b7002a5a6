/**
 * Domains: devices that are joined by links, directly or through others, and the hosts that carry
 * ports of any of them. A frame that enters somewhere in a domain may be sent by that host to any
 * port of it, and to no port outside.
 *
 * Invariant: what `of` answers is what going through all links now would give; it is computed when
 * it is asked for, and forgotten when a link comes or goes.
 */
import type { DeviceId, HostId } from './ids.ts';

export interface Domain {
  readonly devices: ReadonlySet<DeviceId>;
  /** Hosts, and how many ports they carry. */
  readonly hosts: ReadonlyMap<HostId, number>;
  /** Another number whenever the devices or the set of hosts are others. */
  readonly stamp: number;
}
interface Mutable extends Domain {
  readonly hosts: Map<HostId, number>;
  stamp: number;
}

/** What domains are made of; `carried`: hosts of a device's own ports, and how many. */
export interface Links {
  linked(device: DeviceId): Iterable<DeviceId>;
  carried(device: DeviceId): Iterable<readonly [HostId, number]>;
}

export class Domains {
  readonly #links: Links;
  readonly #of = new Map<DeviceId, Mutable>();
  #stamp = 0;

  constructor(links: Links) {
    this.#links = links;
  }

  of(device: DeviceId): Domain {
    return this.#of.get(device) ?? this.#explore(device);
  }

  /** A link came or went. */
  reset(): void {
    this.#of.clear();
  }

  /** One port more, or less, of a device on a host. */
  count(device: DeviceId, host: HostId, by: 1 | -1): void {
    const domain = this.#of.get(device);
    if (domain === undefined) return;
    const ports = (domain.hosts.get(host) ?? 0) + by;
    if (ports === 0) domain.hosts.delete(host);
    else domain.hosts.set(host, ports);
    if (ports === 0 || (ports === 1 && by === 1)) domain.stamp = ++this.#stamp;
  }

  #explore(first: DeviceId): Domain {
    const devices = new Set([first]);
    const hosts = new Map<HostId, number>();
    const domain: Mutable = { devices, hosts, stamp: ++this.#stamp };
    // A set is walked in order of insertion, and what is added meanwhile is walked too.
    for (const device of devices) {
      this.#of.set(device, domain);
      for (const next of this.#links.linked(device)) devices.add(next);
      for (const [host, ports] of this.#links.carried(device))
        hosts.set(host, (hosts.get(host) ?? 0) + ports);
    }
    return domain;
  }
}
