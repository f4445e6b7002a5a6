/**
 * Where the copies of a frame leave, in words that hold on every host: port and host, not interface
 * number and tunnel key. For whoever has the topology and no datapath: traces, and what-if.
 *
 * Invariant: it is the agent's own compilation (`compile.ts`) over bindings that follow from the
 * topology, so it drops what an agent would drop, for the same reason.
 */
import type { DropReason } from '#virtual/drop.ts';
import type { BridgeId, HostId, PortId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Ingress, Outcome } from '#virtual/outcome.ts';
import type { ReadyPort } from '#virtual/ready.ts';
import type { Topology } from '#virtual/topology.ts';
import {
  compile,
  type Bindings,
  type FloodMembers,
  type LocalMember,
  type RemoteHost,
  type RemotePort,
} from './compile.ts';
import type { DpPeer, DpPort, Output, TunnelKey } from './flow.ts';

/** Whether an interface of the host carries a port that is bound there. */
export type Carries = (port: PortId) => boolean;

/** One copy of a frame. */
export type Copy = {
  readonly host: HostId;
  /** The VLAN that it leaves with; 0: untagged; absent: as it came. */
  readonly vlan?: number;
} & (
  | { readonly port: PortId; readonly interface?: string }
  /** For the ports of a bridge there: the agent of that host walks the rest of the way. */
  | { readonly flood: BridgeId }
);
export type Placed =
  | { readonly drop: DropReason; readonly copies: readonly [] }
  | { readonly drop?: undefined; readonly copies: readonly Copy[] };

/** Bindings as they follow from the topology, seen from one host. */
class TopologyBindings implements Bindings {
  readonly #host: HostId;
  readonly #topology: Topology;
  readonly #carries: Carries;
  readonly #hosts: HostId[] = [];
  readonly #ports: PortId[] = [];
  /** Which port a key of another host reaches. */
  readonly #keys = new Map<string, PortId>();

  constructor(host: HostId, topology: Topology, carries: Carries) {
    this.#host = host;
    this.#topology = topology;
    this.#carries = carries;
  }

  ready(port: PortId): ReadyPort | undefined {
    return this.#topology.port(port)?.ready;
  }
  dpPort(port: PortId): DpPort | undefined {
    if (!this.#isHere(port) || !this.#carries(port)) return undefined;
    const known = this.#ports.indexOf(port);
    return (known < 0 ? this.#ports.push(port) : known + 1) as number as DpPort;
  }
  remote(port: PortId): RemotePort | undefined {
    const at = this.#topology.location(port);
    if (at === undefined || at.host === this.#host) return undefined;
    const remote = this.#peerOf(at.host);
    this.#keys.set(`${remote ?? 0}/${at.tunnelKey}`, port);
    return { host: at.host, remote, key: at.tunnelKey as TunnelKey };
  }
  mtu(): undefined {
    return undefined;
  }
  floodMembers(id: BridgeId): FloodMembers | undefined {
    const bridge = this.#topology.bridge(id);
    if (bridge === undefined) return undefined;
    const local: LocalMember[] = [];
    for (const port of this.#topology.portsOnHost(this.#host)) {
      const view = this.#topology.port(port);
      if (view?.bridge === id && view.adminStateUp && view.peer === undefined)
        local.push({ port, dpPort: this.dpPort(port) });
    }
    const remotes: RemoteHost[] = [];
    for (const [host, { adminUp }] of this.#topology.carriers(id))
      if (adminUp > 0 && host !== this.#host) remotes.push({ host, remote: this.#peerOf(host) });
    return { key: bridge.floodKey as TunnelKey, local, remotes };
  }
  routerHosts(): undefined {
    return undefined;
  }

  /** What an output of these bindings is. */
  copyOf(output: Output, vlan: number | undefined): Copy {
    const tag = output.vlan ?? vlan;
    const tagged = tag === undefined ? {} : { vlan: tag };
    if ('port' in output) {
      const port = this.#ports[output.port - 1];
      if (port === undefined) throw new Error(`placed: no port has the number ${output.port}`);
      return { host: this.#host, port, ...interfaceOf(this.#row(port)?.interface), ...tagged };
    }
    const host = this.#hosts[output.remote - 1];
    if (host === undefined) throw new Error(`placed: no host has the number ${output.remote}`);
    const port = this.#keys.get(`${output.remote}/${output.key}`);
    if (port !== undefined) {
      const name = this.#topology.location(port)?.interface;
      return { host, port, ...interfaceOf(name), ...tagged };
    }
    const flood = this.#topology.bridgeOfFloodKey(output.key);
    if (flood === undefined) throw new Error(`placed: nobody has the key ${output.key}`);
    return { host, flood, ...tagged };
  }

  #isHere(port: PortId): boolean {
    return this.#row(port)?.host === this.#host;
  }
  #row(port: PortId): ObjectOf<'port'> | undefined {
    return this.#topology.get('port', port) as ObjectOf<'port'> | undefined;
  }
  #peerOf(host: HostId): DpPeer | undefined {
    if (this.#topology.tunnelAddress(this.#host, host) === undefined) return undefined;
    const known = this.#hosts.indexOf(host);
    return (known < 0 ? this.#hosts.push(host) : known + 1) as number as DpPeer;
  }
}

const interfaceOf = (name: string | undefined) => (name === undefined ? {} : { interface: name });

export interface PlaceRequest {
  /** Where the frame was decided. */
  readonly host: HostId;
  readonly topology: Topology;
  readonly carries: Carries;
}

/** Where what an outcome forwards leaves, or why it does not. Of other verdicts: nowhere. */
export function place(
  outcome: Outcome,
  ingress: Ingress,
  { host, topology, carries }: PlaceRequest,
): Placed {
  const { verdict } = outcome;
  if (verdict.kind !== 'forward' && verdict.kind !== 'drop') return { copies: [] };
  const bindings = new TopologyBindings(host, topology, carries);
  const { actions } = compile(outcome, ingress, bindings);
  if (actions.drop !== undefined) return { drop: actions.drop, copies: [] };
  return { copies: actions.outputs.map((output) => bindings.copyOf(output, actions.vlan)) };
}
