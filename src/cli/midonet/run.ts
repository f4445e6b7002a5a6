/** The verbs of midonet-cli, carried out with the same client as every other command. */
import { KIND_NAMES, type KindName, type StoredObject } from '#virtual/kind.ts';
import { type ObjectOf } from '#virtual/kinds.ts';
import { type CliIo, UsageError } from '../io.ts';
import { quoteWord } from '../shell/words.ts';
import type { Aliases, Target } from './aliases.ts';
import { type Named, pairsOf, type Parsed, parse } from './grammar.ts';
import { Objects, type Shown } from './objects.ts';
import { attributesOf, ROOTS, TYPES, type TypeName } from './types.ts';

/** What a session keeps between lines. */
export interface Memory {
  readonly aliases: Aliases;
  /** Objects are made for it, and only its are listed (`sett`). */
  tenant: string | undefined;
}

type Zone = ObjectOf<'tunnel-zone'>;
type Port = ObjectOf<'port'>;

const HELP = `
  [path] verb type [attribute value]…

  list     bridge list    bridge bridge0 list port    bridge0:port list    route list dst !10.0.0.0/8
  create   bridge create name b1    bridge bridge0 add port    router router0 add route dst …
  show     bridge0:port1 show       set    port port0 set state down
  clear    bridge0:port1 clear peer          delete    bridge0:port1 delete
  describe a type's attributes; sett TENANT, cleart: whose objects are made and listed; exit
`;

/** One line of a session. */
export class Line {
  readonly #io: CliIo;
  readonly #memory: Memory;
  readonly #objects: Objects;

  constructor(io: CliIo, memory: Memory) {
    this.#io = io;
    this.#memory = memory;
    this.#objects = new Objects(io, memory.aliases);
  }

  /** Throws UsageError, and what the client throws. */
  async run(words: readonly string[]): Promise<void> {
    const [first = '', second] = words;
    if (first === 'help') this.#io.out(HELP.slice(1));
    else if (first === 'sett' && second !== undefined && words.length === 2)
      this.#memory.tenant = second;
    else if (first === 'cleart' && words.length === 1) this.#memory.tenant = undefined;
    else await this.#carry(parse(words, this.#memory.aliases));
  }

  async #carry(line: Parsed): Promise<void> {
    const { object, type, verb } = line;
    if (verb === undefined)
      throw new UsageError('there is no verb', 'list, show, create, set, clear, delete, describe');
    if (verb === 'describe') return this.#describe(type ?? object?.type);
    if (verb === 'list') return this.#list(this.#collection(line), line);
    if (verb === 'create' || verb === 'add') return this.#create(this.#collection(line), line);
    if (object === undefined || type !== undefined) {
      const what = type ?? 'bridge';
      throw new UsageError(`${verb} what? Name one ${type ?? 'object'}`, `${what} list`);
    }
    const target = await this.#resolve(object);
    if (verb === 'show') return this.#show(target);
    return verb === 'delete' ? this.#delete(target) : this.#set(target, line);
  }

  #collection({ object, type, verb }: Parsed): TypeName {
    if (type !== undefined) return type;
    const below = object === undefined ? ROOTS : TYPES[object.type].children;
    throw new UsageError(
      `${verb} what?`,
      below.length === 0 ? 'help' : `One of: ${below.join(', ')}`,
    );
  }

  async #resolve(named: Named): Promise<Target> {
    if ('id' in named) return named;
    const { type, name, below } = named;
    const scope = below === undefined ? undefined : await this.#resolve(below);
    const { kind } = TYPES[type];
    if (kind !== undefined)
      return this.#objects.targetOf(kind, await this.#io.client.get(kind, name));
    const id = await this.#objects.idOf(type === 'member' ? 'host' : 'port', name);
    return { type, id, ...(scope !== undefined && { scope }) };
  }

  #say({ target, texts }: Shown): void {
    const words = [...texts].flatMap(([name, text]) =>
      text === '' ? [] : [name, quoteWord(text)],
    );
    this.#io.out(`${[target.type, this.#memory.aliases.of(target), ...words].join(' ')}\n`);
  }

  #describe(type: TypeName | undefined): void {
    if (type === undefined) throw new UsageError('describe what?', `One of: ${ROOTS.join(', ')}`);
    for (const { name, about } of attributesOf(type)) this.#io.out(`${name.padEnd(16)}${about}\n`);
  }

  async #alive() {
    const { hosts } = await this.#io.client.status();
    return new Map(hosts.map((host) => [host.host, host]));
  }

  /** All of a type below an object, in the API's order. */
  async #all(type: TypeName, scope: Target | undefined): Promise<Shown[]> {
    const { client } = this.#io;
    if (type === 'member' || type === 'binding') {
      if (scope === undefined) throw new UsageError(`${type}s are listed below one`, 'help');
      return type === 'member' ? this.#members(scope) : this.#bindings(scope);
    }
    const kind = type as KindName;
    const where: Record<string, string> = {};
    if (scope !== undefined) where[scope.type] = scope.id;
    if (this.#memory.tenant !== undefined && kind !== 'host' && kind !== 'tunnel-zone')
      where['tenant'] = this.#memory.tenant;
    const alive = kind === 'host' ? await this.#alive() : undefined;
    const shown: Shown[] = [];
    for (const object of await client.listAll(kind, where))
      shown.push(await this.#objects.shown(kind, object, alive));
    return shown;
  }

  async #members(scope: Target): Promise<Shown[]> {
    const zone = (await this.#io.client.get('tunnel-zone', scope.id)) as Zone;
    return zone.members.map(({ host, address }) => ({
      target: { type: 'member', id: host, scope },
      texts: new Map([
        ['host', this.#memory.aliases.of({ type: 'host', id: host })],
        ['address', address],
      ]),
    }));
  }

  async #bindings(scope: Target): Promise<Shown[]> {
    const ports = (await this.#io.client.listAll('port', { host: scope.id })) as Port[];
    const shown: Shown[] = [];
    for (const port of ports)
      shown.push({
        target: { type: 'binding', id: port.id, scope },
        texts: new Map([
          ['port', this.#memory.aliases.of(await this.#objects.targetOf('port', port))],
          ['interface', port.interface ?? ''],
        ]),
      });
    return shown;
  }

  async #list(type: TypeName, { object, attributes }: Parsed): Promise<void> {
    const filters = pairsOf(type, attributes);
    const scope = object === undefined ? undefined : await this.#resolve(object);
    for (const one of await this.#all(type, scope)) {
      const fits = filters.every(([name, text]) => {
        const not = text.startsWith('!');
        return ((one.texts.get(name) ?? '') === (not ? text.slice(1) : text)) !== not;
      });
      if (fits) this.#say(one);
    }
  }

  async #show(target: Target): Promise<void> {
    const { kind } = TYPES[target.type];
    if (kind === undefined) {
      const all = await this.#all(target.type, target.scope);
      const found = all.find((one) => one.target.id === target.id);
      if (found === undefined) throw new UsageError(`there is no such ${target.type}`, 'list');
      return this.#say(found);
    }
    const object = await this.#io.client.get(kind, target.id);
    const alive = kind === 'host' ? await this.#alive() : undefined;
    this.#say(await this.#objects.shown(kind, object, alive));
  }

  #created(target: Target): void {
    this.#io.out(`${this.#memory.aliases.of(target)}\n`);
  }

  /** A name for a port, which has none in this grammar: the first that is free in its device. */
  async #portName(scope: Target): Promise<string> {
    const { client } = this.#io;
    const device = await client.get(scope.type as KindName, scope.id);
    const ports = await client.listAll('port', { [scope.type]: scope.id });
    const taken = new Set(ports.map(({ name }) => name));
    for (let n = 0; ; n++) {
      const name = `${device.name ?? scope.type}-port${n}`;
      if (!taken.has(name)) return name;
    }
  }

  async #create(type: TypeName, { object, attributes }: Parsed): Promise<void> {
    const { client } = this.#io;
    const pairs = pairsOf(type, attributes);
    const scope = object === undefined ? undefined : await this.#resolve(object);
    if (type === 'member' || type === 'binding') return this.#addPart(type, scope, pairs);
    const kind = type as KindName;
    if ((kind === 'port' || kind === 'route') && scope === undefined)
      throw new UsageError(`a ${kind} is made below its device`, `router router0 add ${kind}`);
    const body = await this.#objects.bodyOf(type, pairs);
    if (scope !== undefined) body[scope.type] = scope.id;
    if (kind === 'port' && scope !== undefined) body['name'] ??= await this.#portName(scope);
    if (this.#memory.tenant !== undefined && kind !== 'host' && kind !== 'tunnel-zone')
      body['tenant'] ??= this.#memory.tenant;
    const { objects } = await client.create(kind, body);
    const [made] = objects;
    if (made !== undefined) this.#created(await this.#objects.targetOf(kind, made));
  }

  /** A member of a zone, a binding of a host: fields of what they are part of. */
  async #addPart(
    type: 'member' | 'binding',
    scope: Target | undefined,
    pairs: readonly (readonly [string, string])[],
  ): Promise<void> {
    const given = new Map(pairs);
    const names = attributesOf(type).map(({ name }) => name);
    const lacking = names.find((name) => !given.has(name));
    if (lacking !== undefined || scope === undefined)
      throw new UsageError(`a ${type} needs ${names.join(' and ')}`, 'help');
    const { client } = this.#io;
    if (type === 'binding') {
      const port = await this.#objects.idOf('port', given.get('port') ?? '');
      await client.update('port', port, { host: scope.id, interface: given.get('interface') });
      return this.#created({ type, id: port, scope });
    }
    const host = await this.#objects.idOf('host', given.get('host') ?? '');
    await this.#editMembers(scope, (members) => [
      ...members,
      { host, address: given.get('address') ?? '' },
    ]);
    this.#created({ type, id: host, scope });
  }

  async #editMembers(
    scope: Target,
    edit: (members: readonly { host: string; address: string }[]) => readonly unknown[],
  ): Promise<void> {
    const { client } = this.#io;
    const zone = (await client.get('tunnel-zone', scope.id)) as Zone;
    await client.update('tunnel-zone', zone.id, { members: edit(zone.members) }, zone.revision);
  }

  async #set({ type, id }: Target, { verb, attributes }: Parsed): Promise<void> {
    const { kind } = TYPES[type];
    if (kind === undefined)
      throw new UsageError(`a ${type} is not changed`, 'Delete it, and add another');
    const clear = verb === 'clear';
    const pairs = pairsOf(type, clear ? attributes.flatMap((name) => [name, '']) : attributes);
    if (pairs.length === 0) throw new UsageError(`${verb} which attribute?`, `describe ${type}`);
    let body: Record<string, unknown>;
    if (clear) {
      const known = new Map(attributesOf(type).map((one) => [one.name, one]));
      const fields = pairs.map(([name]) => known.get(name)?.field?.name ?? 'networks');
      body = Object.fromEntries(fields.map((field) => [field, null]));
    } else body = await this.#objects.bodyOf(type, pairs);
    await this.#io.client.update(kind, id, body);
  }

  async #delete({ type, id, scope }: Target): Promise<void> {
    const { client } = this.#io;
    const { kind } = TYPES[type];
    if (kind !== undefined) await client.remove(kind, id);
    else if (type === 'binding') await client.update('port', id, { host: null, interface: null });
    else if (scope !== undefined)
      await this.#editMembers(scope, (members) => members.filter(({ host }) => host !== id));
  }
}

/** Live objects of a kind, for completion; none when the API does not answer. */
export async function targetsOf(
  io: CliIo,
  memory: Memory,
  type: TypeName,
): Promise<{ readonly alias: string; readonly object: StoredObject }[]> {
  const kind = KIND_NAMES.find((name) => name === TYPES[type].kind);
  if (kind === undefined) return [];
  const objects = new Objects(io, memory.aliases);
  try {
    const { items } = await io.client.list(kind, { limit: 100 });
    const found: { alias: string; object: StoredObject }[] = [];
    for (const object of items)
      found.push({ alias: memory.aliases.of(await objects.targetOf(kind, object)), object });
    return found;
  } catch {
    return [];
  }
}
