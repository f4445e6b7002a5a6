/**
 * An ICMP error, for rules that translate: they are asked about the packet that it quotes, turned
 * round, as if that were an answer (RFC 5508 §4). So what is done to a connection is done to errors
 * about it, whatever a rule asks of protocols and ports.
 *
 * Invariant: what is changed here is changed in the quoted packet; the caller changes the outer
 * header with it.
 */
import { isIp6, type Ip } from '#net/ip.ts';
import { quotedBy } from '#net/quoted.ts';
import type { Ends } from '#net/readdress.ts';
import type { Endpoint, Tuple } from '../connection.ts';
import type { Readable } from '../chain/facts.ts';
import { fieldSet, type Field, type FieldSet, type Headers, type Match } from '../match.ts';
import { quotedTuple } from '../track.ts';

/** Type and code of an echo, as `tpSrc` has them: by the end that has the identifier. */
const ECHO = { request: 8 << 8, reply: 0 } as const;
const ECHO6 = { request: 128 << 8, reply: 129 << 8 } as const;
const ICMP_PROTOCOLS: readonly number[] = [1, 58];

/** The walk has read the whole error: nothing that it quotes costs the mask any more. */
const QUOTED: FieldSet = fieldSet(['ipSrc', 'ipDst', 'ipProto', 'ipFrag', 'tpSrc', 'tpDst']);

export class Turned implements Readable {
  readonly #match: Match;
  readonly #protocol: number;
  #source: Endpoint;
  #destination: Endpoint;
  #changed = false;

  constructor(match: Match, { protocol, src, dst, srcPort, dstPort }: Tuple) {
    this.#match = match;
    this.#protocol = protocol;
    this.#source = { ip: dst, port: dstPort };
    this.#destination = { ip: src, port: srcPort };
  }

  get source(): Endpoint {
    return this.#source;
  }
  get destination(): Endpoint {
    return this.#destination;
  }
  set(end: 'source' | 'destination', to: Endpoint): void {
    this.#changed = true;
    if (end === 'source') this.#source = to;
    else this.#destination = to;
  }

  get isChanged(): boolean {
    return this.#changed;
  }
  /** The ends of the quoted packet, as it is quoted. */
  get ends(): Ends {
    const [src, dst] = [this.#destination, this.#source];
    return { src: src.ip, dst: dst.ip, srcPort: src.port, dstPort: dst.port };
  }

  get known(): FieldSet {
    return this.#match.known | QUOTED;
  }
  get<F extends Field>(field: F): Headers[F] {
    return (this.#own(field) ?? this.#match.get(field)) as Headers[F];
  }
  #own(field: Field): number | Ip | undefined {
    const [source, destination] = [this.#source, this.#destination];
    const isIcmp = ICMP_PROTOCOLS.includes(this.#protocol);
    if (field === 'ipSrc') return source.ip;
    if (field === 'ipDst') return destination.ip;
    if (field === 'ipProto') return this.#protocol;
    if (field === 'ipFrag') return 0;
    if (field === 'tpDst') return isIcmp ? source.port || destination.port : destination.port;
    if (field !== 'tpSrc') return undefined;
    if (!isIcmp) return source.port;
    const echo = isIp6(source.ip) ? ECHO6 : ECHO;
    return source.port === 0 ? echo.reply : echo.request;
  }
}

/** Undefined: it quotes nothing that could be translated. */
export function turnedOf(match: Match): Turned | undefined {
  const quoted = quotedBy(match.payload());
  const tuple = quoted && quotedTuple(quoted);
  // An error goes back to whom the quoted packet is from; another one is forged.
  if (tuple === undefined || match.get('ipDst') !== tuple.src) return undefined;
  return new Turned(match, tuple);
}
