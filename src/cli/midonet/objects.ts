/**
 * Objects as midonet-cli shows them: attributes and their texts, and texts as the API's fields.
 * What a session calls an object is `Aliases`; here ids become aliases, and aliases ids.
 */
import type { HostStatus } from '#client/types.ts';
import { parseIp } from '#net/ip.ts';
import { contains, formatPrefix, networkOf, parseNetwork } from '#net/prefix.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf, type ObjectOf } from '#virtual/kinds.ts';
import { fieldsOfObject, parseFlag } from '../fields.ts';
import { type CliIo, UsageError } from '../io.ts';
import { cellOf } from '../names.ts';
import type { Aliases, Target } from './aliases.ts';
import { type Attribute, attributesOf, type TypeName } from './types.ts';

/** The route that any packet's source is in. */
const ANYWHERE: readonly string[] = ['0.0.0.0/0', '::/0'];

/** One thing that is listed: what it is, and its attributes as texts. */
export interface Shown {
  readonly target: Target;
  readonly texts: ReadonlyMap<string, string>;
}

export class Objects {
  readonly #io: CliIo;
  readonly #aliases: Aliases;
  constructor(io: CliIo, aliases: Aliases) {
    this.#io = io;
    this.#aliases = aliases;
  }

  /** What an object goes by: below its device, its router. */
  async targetOf(kind: KindName, object: StoredObject): Promise<Target> {
    const type = kind as TypeName;
    if (kind === 'port') {
      const { bridge, router } = object as ObjectOf<'port'>;
      const scope: Target =
        bridge === undefined
          ? { type: 'router', id: router ?? '' }
          : { type: 'bridge', id: bridge };
      return { type, id: object.id, scope };
    }
    if (kind !== 'route') return { type, id: object.id };
    return {
      type,
      id: object.id,
      scope: { type: 'router', id: (object as ObjectOf<'route'>).router },
    };
  }

  /** The alias of an object that a field names; its id when it is out of sight. */
  async #aliasOf(kind: KindName, id: string): Promise<string> {
    if (kind !== 'port' && kind !== 'route')
      return this.#aliases.of({ type: kind as TypeName, id });
    try {
      return this.#aliases.of(await this.targetOf(kind, await this.#io.client.get(kind, id)));
    } catch {
      return id;
    }
  }

  /** The id of what an alias, a name or an id stands for. */
  async idOf(kind: KindName, text: string): Promise<string> {
    const target = this.#aliases.find(text);
    if (target === undefined) return (await this.#io.client.get(kind, text)).id;
    if (target.type === kind) return target.id;
    throw new UsageError(`'${text}' is a ${target.type}, not a ${kind}`, `${kind} list`);
  }

  async #textOf(attribute: Attribute, value: unknown): Promise<string> {
    const { field, words } = attribute;
    if (field === undefined || value === undefined || value === null) return '';
    const { refersTo } = field;
    if (refersTo !== undefined) return this.#aliasOf(refersTo, String(value as string));
    const text = cellOf(field, value, (_kind, id) => id);
    return words?.[text] ?? text;
  }

  /** An object with its attributes; `alive`: what status says of hosts. */
  async shown(
    kind: KindName,
    object: StoredObject,
    alive?: ReadonlyMap<string, HostStatus>,
  ): Promise<Shown> {
    const target = await this.targetOf(kind, object);
    const values = object as unknown as Readonly<Record<string, unknown>>;
    const own = new Set(fieldsOfObject(kindOf(kind), object).map(({ name }) => name));
    const texts = new Map<string, string>();
    for (const attribute of attributesOf(kind as TypeName)) {
      const { field, name } = attribute;
      if (field !== undefined && own.has(field.name))
        texts.set(name, await this.#textOf(attribute, values[field.name]));
    }
    if (target.scope !== undefined && kind === 'port')
      texts.set('device', this.#aliases.of(target.scope));
    if (kind === 'port') this.#addAddress(object as ObjectOf<'port'>, texts);
    if (kind === 'route' && texts.get('src') === '')
      texts.set('src', texts.get('dst')?.includes(':') === true ? '::/0' : '0.0.0.0/0');
    if (kind === 'tunnel-zone') texts.set('type', 'vxlan');
    if (kind === 'host') texts.set('alive', String(alive?.get(object.id)?.state === 'alive'));
    return { target, texts };
  }

  #addAddress({ networks }: ObjectOf<'port'>, texts: Map<string, string>): void {
    if (networks === undefined) return;
    const parts = networks.map((text) => text.split('/'));
    texts.set('address', parts.map(([address]) => address).join(','));
    const nets = networks.map((text) => {
      const network = parseNetwork(text);
      if (network === undefined) return text;
      const { address, length } = network;
      return formatPrefix({ address: networkOf(address, length), length });
    });
    texts.set('net', nets.join(','));
  }

  /** One attribute as the field that it is. */
  async #fieldOf(attribute: Attribute, text: string): Promise<readonly [string, unknown]> {
    const { field, words, name } = attribute;
    if (field === undefined) throw new UsageError(`'${name}' cannot be set by itself`, 'describe');
    const [value = text] = Object.entries(words ?? {}).find(([, word]) => word === text) ?? [];
    if (field.refersTo !== undefined) return [field.name, await this.idOf(field.refersTo, value)];
    const isList = field.type === 'objects' || field.type === 'texts';
    return [field.name, parseFlag(field, isList ? [value] : value)];
  }

  /** Attributes as a body of the API. Throws UsageError. */
  async bodyOf(
    type: TypeName,
    pairs: readonly (readonly [string, string])[],
  ): Promise<Record<string, unknown>> {
    const body: Record<string, unknown> = {};
    const known = new Map(attributesOf(type).map((attribute) => [attribute.name, attribute]));
    const given = new Map(pairs);
    for (const [name, text] of pairs) {
      const attribute = known.get(name);
      if (attribute === undefined) continue;
      if (type === 'port' && (name === 'address' || name === 'net')) continue;
      if (type === 'route' && name === 'src' && ANYWHERE.includes(text)) continue;
      if (type === 'tunnel-zone' && name === 'type') {
        if (text !== 'vxlan')
          throw new UsageError(`type '${text}': tunnels are vxlan`, 'type vxlan');
        continue;
      }
      const [field, value] = await this.#fieldOf(attribute, text);
      body[field] = value;
    }
    if (type === 'port') Object.assign(body, networksOf(given.get('address'), given.get('net')));
    return body;
  }
}

/** `address 10.0.0.1 net 10.0.0.0/24` as the field `networks`. */
function networksOf(address: string | undefined, net: string | undefined): object {
  if (address === undefined && net === undefined) return {};
  const [network, length] = [parseNetwork(net ?? ''), net?.split('/')[1]];
  const ip = parseIp(address ?? '');
  if (ip === undefined || network === undefined || length === undefined)
    throw new UsageError('address and net go together: address 10.0.0.1 net 10.0.0.0/24', 'help');
  if (!contains(network, ip)) throw new UsageError(`address: ${address} is not in ${net}`, 'help');
  return { networks: [`${address}/${length}`] };
}
