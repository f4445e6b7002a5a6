/**
 * Which interfaces lead to a container, and what its MAC is there: frames for that MAC may go
 * straight to it (bpf_redirect_peer), past the queue of the host's end.
 *
 * Invariant: an interface is only among them while it is a veth pair with a carrier whose other
 * end is in another namespace: to one in this namespace the kernel drops what is sent straight. An
 * end that moves loses its carrier and gets it back, and whoever is told of either has to `look`;
 * only what is sent in between is lost. The MAC is looked up when the pair comes up. One that a
 * container changes later makes its frames go the ordinary way, and those for the old one, if there
 * are any, are still taken for its own.
 */
import { release } from 'node:os';
import type { DpPort } from '#flow/flow.ts';
import { readMac } from '#net/mac.ts';
import type { Mac } from '#net/mac.ts';
import { isAtLeast } from '#os/kernel.ts';
import { linkByIndex, linkInNetns, listLinks } from '#os/netlink/links.ts';
import type { Link } from '#os/netlink/links.ts';

/**
 * Before, frames kept what the host knew of them, such as the tunnel they came by
 * (net/core/filter.c, "bpf: Scrub packet on bpf_redirect_peer").
 */
const SCRUBS = [6, 16] as const;
const MAC_BYTES = 6;

interface FarEnd {
  /** Where it is, as the near end says it. */
  readonly place: string;
  readonly mac: Mac | undefined;
}

/** Where the other end is; undefined when frames must not go straight there. */
function placeOf(link: Link | undefined): string | undefined {
  if (link?.kind !== 'veth' || !link.lowerUp || !link.up) return undefined;
  return link.linkNetns === undefined ? undefined : `${link.linkNetns} ${link.link}`;
}

export class FarEnds {
  readonly #ends = new Map<DpPort, FarEnd>();
  readonly #enabled: boolean;

  constructor(enabled: boolean) {
    this.#enabled = enabled && isAtLeast(release(), ...SCRUBS);
  }

  /** The MAC behind an interface, when frames for it may go straight there. */
  macOf(port: DpPort): Mac | undefined {
    return this.#ends.get(port)?.mac;
  }

  /** Looks at interfaces; whether anything about them is not as it was. */
  look(ports: readonly DpPort[]): boolean {
    if (!this.#enabled || ports.length === 0) return false;
    const [only] = ports;
    const links = ports.length === 1 && only !== undefined ? [linkByIndex(only)] : listLinks();
    const found = new Map(links.map((link) => [link?.index, link]));
    let changed = false;
    for (const port of ports) {
      const link = found.get(port);
      const place = placeOf(link);
      if (place === this.#ends.get(port)?.place) continue;
      changed = true;
      if (place === undefined || link === undefined) this.#ends.delete(port);
      else this.#ends.set(port, { place, mac: farMac(link) });
    }
    return changed;
  }

  /** Whether it was known. */
  forget(port: DpPort): boolean {
    return this.#ends.delete(port);
  }
}

function farMac({ link, linkNetns }: Link): Mac | undefined {
  if (link === undefined || linkNetns === undefined) return undefined;
  const mac = linkInNetns(linkNetns, link)?.mac;
  return mac?.length === MAC_BYTES ? readMac(mac, 0) : undefined;
}
