/**
 * What a secured port may send from: its addresses, and those allowed beside them, as numbers.
 *
 * Invariants: an address is allowed only together with a MAC that it goes with; a link-local
 * address made from an allowed MAC goes with that MAC; groups and unspecified addresses are never
 * allowed, whatever prefix they are in; `text` is equal for two ports that may send from the same.
 */
import { isIp6, isMulticastIp, isUnspecifiedIp, linkLocalOf, parseIp, type Ip } from '#net/ip.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { contains, parsePrefix, type Prefix } from '#net/prefix.ts';
import type { Allowed, BridgePort } from './port.ts';

/** The fields of a port that say it, as stored; older rows lack the last two. */
export interface AllowedText {
  readonly addresses: BridgePort['addresses'];
  readonly allowedAddresses?: readonly Allowed[] | undefined;
  readonly security?: BridgePort['security'] | undefined;
}

interface AllowedPrefix {
  readonly prefix: Prefix;
  readonly mac: Mac;
}

const invalid = (text: string): Error => new Error(`port: ${text} is stored but not valid`);

export class AllowedSources {
  readonly text: string;
  readonly #macs = new Set<Mac>();
  readonly #ips = new Map<Ip, Set<Mac>>();
  readonly #prefixes: AllowedPrefix[] = [];

  constructor({ addresses, allowedAddresses = [] }: AllowedText) {
    this.text = JSON.stringify([addresses, allowedAddresses]);
    for (const { mac, ip } of addresses) this.#add(this.#mac(mac), ip);
    const own = [...this.#macs];
    for (const { mac, ip } of allowedAddresses)
      for (const each of mac === undefined ? own : [this.#mac(mac)]) this.#add(each, ip);
  }

  #mac(text: string): Mac {
    const mac = parseMac(text);
    if (mac === undefined) throw invalid(text);
    if (!this.#macs.has(mac)) {
      this.#macs.add(mac);
      this.#pair(mac, linkLocalOf(mac));
    }
    return mac;
  }
  #pair(mac: Mac, ip: Ip): void {
    const macs = this.#ips.get(ip);
    if (macs === undefined) this.#ips.set(ip, new Set([mac]));
    else macs.add(mac);
  }
  #add(mac: Mac, text: string | undefined): void {
    if (text === undefined) return;
    const ip = parseIp(text);
    const prefix = ip === undefined ? parsePrefix(text) : undefined;
    if (ip !== undefined) this.#pair(mac, ip);
    else if (prefix !== undefined) this.#prefixes.push({ prefix, mac });
    else throw invalid(text);
  }

  /** What it may send from that has no prefix: nobody else of the bridge may. */
  get macs(): ReadonlySet<Mac> {
    return this.#macs;
  }
  get ips(): Iterable<Ip> {
    return this.#ips.keys();
  }

  hasMac(mac: Mac): boolean {
    return this.#macs.has(mac);
  }
  /** Whether this address goes with this MAC; without one, with any of the port. */
  has(ip: Ip, mac?: Mac): boolean {
    if (isUnspecifiedIp(ip) || isMulticastIp(ip)) return false;
    const macs = this.#ips.get(ip);
    if (macs !== undefined && (mac === undefined || macs.has(mac))) return true;
    return this.#prefixes.some(
      (each) => (mac === undefined || each.mac === mac) && contains(each.prefix, ip),
    );
  }
}

/** Whether a family has an address at all: without, its messages need not be looked into. */
export const familyOf = (ip: Ip): 4 | 6 => (isIp6(ip) ? 6 : 4);

/** Undefined: the port may send from anything. A link leads to no workload. */
export const allowedOf = (row: AllowedText, linked: boolean): AllowedSources | undefined =>
  row.security === 'on' && !linked ? new AllowedSources(row) : undefined;
