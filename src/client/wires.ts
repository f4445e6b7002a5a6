/**
 * What `mn attach` asks of the machine it runs on. The command line has no other way to interfaces
 * and namespaces; who starts it hands it a body of this (`agent/wires.ts`).
 */

/**
 * The caller's mistake, or a machine that does not allow it. What is half done, a second try
 * finishes.
 */
export class WireError extends Error {
  override name = 'WireError';
}

/** The datapath of this network namespace. */
export interface AgentHere {
  /** The id of its host. */
  readonly host: string;
  readonly runDir: string;
}

export interface InterfaceHere {
  readonly name: string;
  /** Global addresses: it is the machine's own way to somewhere. */
  readonly addresses: readonly string[];
  /** It belongs to a bridge or a bond of the machine. */
  readonly enslaved: boolean;
}

/** A cable between the host and another network namespace. */
export interface Cable {
  /** The name of the host's end. */
  readonly outside: string;
  /** The path of the other namespace. */
  readonly netns: string;
  /** The name of the end in there. */
  readonly inside: string;
  /** Of the end in there; the kernel makes one when it is not told. */
  readonly mac: string | undefined;
  /** Bytes of the largest packet, at both ends. */
  readonly mtu: number | undefined;
  /** With their lengths. */
  readonly addresses: readonly string[];
  /** Default routers, at most one of each family. */
  readonly gateways: readonly string[];
}

/** Every call throws WireError; doing the same again changes nothing. */
export interface Wires {
  /** Undefined: no agent carries ports in this network namespace, or it does not say for whom. */
  agent(): AgentHere | undefined;
  interface(name: string): InterfaceHere | undefined;
  /** The path of the namespace of a process, or of a name or path; throws when there is none. */
  netns(of: { readonly pid: number } | { readonly name: string }): string;
  /**
   * Makes the cable, unless it is there, and sets up the end inside. The host's end stays down
   * until an agent takes it over: until then nothing passes. Answers the MAC of the end inside.
   */
  plug(cable: Cable): { readonly mac: string; readonly made: boolean };
  /** Removes the cable that `plug` made under this name; false: there was none. */
  unplug(outside: string): boolean;
}
