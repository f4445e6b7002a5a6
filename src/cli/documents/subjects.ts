/**
 * Which object each document is about, and which objects it names.
 *
 * An object is known by its id if the document gives it; else by its name within its tenant and
 * within what it belongs to (the bridge or router of a port, the router of a route). A document
 * that gives no tenant means the object without one if there is such, else the only one of that
 * name. A route without a name is known by all that decides where packets go, but not its weight; a
 * rule without a name by its chain and its position.
 * References are looked up among the objects as they will be: those there are and that stay, and
 * those that other documents make; in the tenant of the document first.
 *
 * Invariant: two documents are never about one object, and what fits several objects is refused.
 */
import { randomUUID } from 'node:crypto';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { referencesFrom } from '#virtual/references.ts';
import { isId } from '../names.ts';
import {
  type Document,
  fieldSchema,
  type Fields,
  type GivenReference,
  isRecord,
  mapGiven,
  type Named,
} from './document.ts';
import { placeText, titleOfDocument, type PlacedFault } from './read.ts';
import { KINDS_IN_ORDER, type Stand } from './stand.ts';

/** What tells objects without a name apart, of the kinds that need none. */
export const NAMELESS: { readonly [K in KindName]?: readonly string[] } = {
  route: ['router', 'destination', 'source', 'type', 'port', 'gateway'],
  rule: ['chain', 'position'],
};
/** Ids told when something fits several objects. */
const NAMESAKES_TOLD_MAX = 5;

export interface Subject {
  readonly kind: KindName;
  readonly document: Document;
  /** The object there is; undefined: the document makes it. */
  readonly object: StoredObject | undefined;
  /** Its id; of one that is to be made, an id that stands for the one the server will give. */
  readonly id: string;
  /** The fields in canonical form, references as ids (also ids that stand for others). */
  readonly fields: Fields;
}

/** What can be named: an object as it will be. */
interface Candidate {
  readonly id: string;
  readonly tenant: string | undefined;
  /** The ids of what it belongs to. */
  readonly owners: readonly string[];
}

/** The references that say what an object belongs to: they never change. */
export const ownersOf = (kind: KindName): string[] =>
  referencesFrom(kind)
    .filter(({ inner, field }) => inner === undefined && kindOf(kind).immutable.includes(field))
    .map(({ field }) => field);

const fieldOf = (object: StoredObject | undefined, field: string): unknown =>
  (object as Fields | undefined)?.[field];
const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;
const plural = (kind: KindName): string => kindOf(kind).path.replaceAll('-', ' ');
const words = (kind: KindName): string => kind.replaceAll('-', ' ');

/** A value as the store would hold it; as given when its field does not take it. */
export function canonical(kind: KindName, field: string, value: unknown): unknown {
  if (value === null) return null;
  const parsed = fieldSchema(kindOf(kind), field)?.safeParse(value);
  return parsed?.success === true ? parsed.data : value;
}

export class Subjects {
  readonly all: Subject[] = [];
  readonly faults: PlacedFault[] = [];
  readonly #stand: Stand;
  readonly #documents: readonly Document[];
  readonly #isPruned: (object: StoredObject) => boolean;
  /** By id: which document it is of. */
  readonly #claimed = new Map<string, Document>();
  /** Of objects that will be, by kind and name. */
  readonly #candidates = new Map<string, Candidate[]>();
  readonly #removed = new Map<string, Document>();
  /** By what tells them apart: the ids of those that are to be made. */
  readonly #made = new Map<string, string>();

  /** `isPruned`: what goes unless a document describes it; nothing can name it then. */
  constructor(
    stand: Stand,
    documents: readonly Document[],
    isPruned: (object: StoredObject) => boolean = () => false,
  ) {
    this.#stand = stand;
    this.#documents = documents;
    this.#isPruned = isPruned;
    for (const kind of KINDS_IN_ORDER) this.#resolveKind(kind);
    this.all = this.all.map((subject) => ({ ...subject, fields: this.#resolved(subject) }));
  }

  /** Names that exactly one object of a kind has, now and afterwards: they can stand for its id. */
  isUnique(kind: KindName, name: string): boolean {
    const ids = new Set(this.#stand.named(kind, name).map(({ id }) => id));
    for (const { id } of this.#candidates.get(`${kind}/${name}`) ?? []) ids.add(id);
    return ids.size === 1;
  }
  documentOf(id: string): Document | undefined {
    return this.#claimed.get(id);
  }

  #fault(document: Document, path: string, message: string, faults = this.faults): void {
    const { file } = document.place;
    const line = path === '' ? document.place.line : document.lineOf(path);
    const what = titleOfDocument(document);
    faults.push({ place: { file, line }, what, path, message });
  }

  /** Which objects the documents of a kind are about; then all of that kind can be named. */
  #resolveKind(kind: KindName): void {
    const renamed = new Map<string, string>();
    for (const document of this.#documents) {
      if (document.kind !== kind) continue;
      const owners = this.#ownersIn(document, document.remove ? [] : this.faults);
      // What is to be gone, of what is gone: there is nothing to do.
      if (owners === undefined) {
        if (document.remove) this.#claim({ kind, document, object: undefined, id: randomUUID() });
        continue;
      }
      const object = this.#find(document, owners);
      if (object === 'refused') continue;
      const id = object?.id ?? this.#newId(document, owners);
      if (!this.#claim({ kind, document, object, id })) continue;
      const name = textOf(document.fields['name']);
      if (document.remove) this.#removed.set(id, document);
      else if (object === undefined && name !== undefined)
        this.#offer(kind, name, { id, tenant: this.#tenantOf(document, owners), owners });
      else if (name !== undefined) renamed.set(id, name);
    }
    for (const object of this.#stand.list(kind)) {
      const name = renamed.get(object.id) ?? object.name;
      if (name === undefined) continue;
      if (!this.#claimed.has(object.id) && this.#isPruned(object)) continue;
      const owners = ownersOf(kind).flatMap((field) => textOf(fieldOf(object, field)) ?? []);
      this.#offer(kind, name, { id: object.id, tenant: object.tenant, owners });
    }
  }

  /** False: another document is about that object. */
  #claim(subject: Omit<Subject, 'fields'>): boolean {
    const { id, document } = subject;
    const other = this.#claimed.get(id);
    if (other === undefined) {
      this.#claimed.set(id, document);
      this.all.push({ ...subject, fields: document.fields });
    } else this.#fault(document, '', `is described at ${placeText(other.place)} already`);
    return other === undefined;
  }

  #offer(kind: KindName, name: string, candidate: Candidate): void {
    this.#candidates.getOrInsertComputed(`${kind}/${name}`, () => []).push(candidate);
  }

  /** One id for each object to be made, however often it is described. */
  #newId(document: Document, owners: readonly string[]): string {
    const { kind, fields } = document;
    const key =
      textOf(fields['name']) === undefined && NAMELESS[kind] !== undefined
        ? this.#keyOf(document)
        : [textOf(fields['tenant']), fields['name']];
    return this.#made.getOrInsertComputed(JSON.stringify([kind, owners, key]), () => randomUUID());
  }

  /** The ids of what a document's object belongs to; undefined when one is not found. */
  #ownersIn(document: Document, faults: PlacedFault[]): string[] | undefined {
    const owners: string[] = [];
    for (const field of ownersOf(document.kind)) {
      const given = document.fields[field] ?? undefined;
      const target = kindOf(document.kind).references[field]?.kind;
      if (given === undefined || target === undefined) continue;
      const id = this.#lookup(document, { path: field, target, given }, [], faults);
      if (id === undefined) return undefined;
      owners.push(id);
    }
    return owners;
  }

  /** The tenant that an object has, or will have: that of its device when it is not told. */
  #tenantOf(document: Document, owners: readonly string[]): string | undefined {
    const given = textOf(document.fields['tenant']);
    const [owner = ''] = owners;
    if (given !== undefined) return given;
    for (const kind of KINDS_IN_ORDER) {
      const object = this.#stand.get(kind, owner);
      if (object !== undefined) return object.tenant;
    }
    return textOf(this.#claimed.get(owner)?.fields['tenant']);
  }

  #find(document: Document, owners: readonly string[]): StoredObject | undefined | 'refused' {
    const { kind, id, fields } = document;
    if (id !== undefined) {
      const object = this.#stand.get(kind, id);
      if (object === undefined && !document.remove) {
        this.#fault(document, 'id', `no ${words(kind)} has the id ${id}`);
        return 'refused';
      }
      return object;
    }
    const name = textOf(fields['name']);
    if (name === undefined && NAMELESS[kind] === undefined) {
      this.#fault(document, 'name', 'is required, or an id');
      return 'refused';
    }
    // Without either, each run would make one more.
    if (name === undefined && kind === 'rule' && fields['position'] === undefined) {
      this.#fault(document, 'position', 'is required, or a name, or an id');
      return 'refused';
    }
    let found = name === undefined ? this.#alike(document) : [...this.#stand.named(kind, name)];
    const owned = (object: StoredObject): boolean => {
      const own = ownersOf(kind).map((field) => fieldOf(object, field));
      return owners.every((owner) => own.includes(owner));
    };
    found = found.filter(owned);
    if (fields['tenant'] !== undefined)
      found = found.filter(({ tenant }) => tenant === (fields['tenant'] ?? undefined));
    const free = found.filter(({ tenant }) => tenant === undefined);
    const [object, ...more] = free.length === 1 && owners.length === 0 ? free : found;
    if (more.length === 0) return object;
    const ids = found.map((each) => each.id);
    const like = name === undefined ? 'are like this' : `are named ${JSON.stringify(name)}`;
    this.#fault(document, 'name', `${found.length} ${plural(kind)} ${like}: give ${idsText(ids)}`);
    return 'refused';
  }

  /** Objects without a name, by what tells them apart. */
  readonly #nameless = new Map<KindName, Map<string, StoredObject[]>>();

  #alike(document: Document): StoredObject[] {
    const { kind } = document;
    const objects = this.#nameless.getOrInsertComputed(kind, () => {
      const byKey = new Map<string, StoredObject[]>();
      for (const object of this.#stand.list(kind)) {
        if (object.name !== undefined) continue;
        const key = (NAMELESS[kind] ?? []).map((field) => fieldOf(object, field) ?? null);
        byKey.getOrInsertComputed(JSON.stringify(key), () => []).push(object);
      }
      return byKey;
    });
    return objects.get(JSON.stringify(this.#keyOf(document))) ?? [];
  }

  #keyOf(document: Document): unknown[] {
    const { kind } = document;
    const fields = this.#references(document, []);
    return (NAMELESS[kind] ?? []).map((field) => {
      const byDefault = kind === 'route' && field === 'type' ? 'port' : null;
      return canonical(kind, field, fields[field] ?? byDefault);
    });
  }

  /** Every reference of a document as an id. */
  #references(document: Document, faults: PlacedFault[]): Fields {
    const owners = this.#ownersIn(document, []) ?? [];
    return mapGiven(
      document.kind,
      document.fields,
      (reference) => this.#lookup(document, reference, owners, faults) ?? reference.given,
    );
  }

  #resolved({ kind, document }: Subject): Fields {
    if (document.remove) return {};
    const fields = this.#references(document, this.faults);
    return Object.fromEntries(
      Object.entries(fields).map(([field, value]) => [field, canonical(kind, field, value)]),
    );
  }

  /** The id that a reference names; tells what is wrong with it otherwise. */
  #lookup(
    document: Document,
    { path, target, given }: GivenReference,
    owners: readonly string[],
    faults: PlacedFault[],
  ): string | undefined {
    const named: Named = isRecord(given) ? (given as unknown as Named) : { name: String(given) };
    const ids = isId(named.name)
      ? [named.name.toLowerCase()].filter((id) => this.#stand.get(target, id) !== undefined)
      : this.#namesakes(document, target, named, owners);
    const [id] = ids;
    if (id === undefined) {
      const message = isId(named.name)
        ? `no ${words(target)} has the id ${named.name.toLowerCase()}`
        : `no ${words(target)} is named ${JSON.stringify(named.name)}${scopeText(named)}`;
      this.#fault(document, path, message, faults);
      return undefined;
    }
    const remover = this.#removed.get(id);
    if (ids.length > 1) {
      const what = `${ids.length} ${plural(target)} are named ${JSON.stringify(named.name)}`;
      const message = `${what}: say whose it is, or give ${idsText(ids)}`;
      this.#fault(document, path, message, faults);
    } else if (remover !== undefined && !document.remove)
      this.#fault(document, path, `is deleted by ${placeText(remover.place)}`, faults);
    else return id;
    return undefined;
  }

  #namesakes(
    document: Document,
    target: KindName,
    named: Named,
    owners: readonly string[],
  ): string[] {
    const all = this.#candidates.get(`${target}/${named.name}`) ?? [];
    const scoped = (['bridge', 'router'] as const).some((field) => named[field] !== undefined);
    let found = all;
    if (named.tenant !== undefined)
      found = found.filter(({ tenant = null }) => tenant === named.tenant);
    for (const field of ['bridge', 'router'] as const) {
      const { tenant, [field]: device } = named;
      if (device === undefined) continue;
      const scope = tenant === undefined ? {} : { tenant };
      const devices = isId(device)
        ? [device]
        : this.#namesakes(document, field, { name: device, ...scope }, []);
      found = found.filter((each) => each.owners.some((owner) => devices.includes(owner)));
    }
    const narrow = (keep: (candidate: Candidate) => boolean): void => {
      const kept = found.filter(keep);
      if (found.length > 1 && kept.length > 0) found = kept;
    };
    // A route leaves by a port of its own router; other names are looked for in the own tenant.
    if (!scoped && target !== document.kind && owners.length > 0)
      narrow((each) => each.owners.some((owner) => owners.includes(owner)));
    const tenant = this.#ownTenant(document, owners);
    if (named.tenant === undefined) narrow((each) => each.tenant === tenant);
    return found.map(({ id }) => id);
  }

  #ownTenant(document: Document, owners: readonly string[]): string | undefined {
    const object = document.id && this.#stand.get(document.kind, document.id);
    return (object || undefined)?.tenant ?? this.#tenantOf(document, owners);
  }
}

const scopeText = ({ tenant, bridge, router }: Named): string => {
  const parts = [
    bridge === undefined ? '' : ` of bridge ${JSON.stringify(bridge)}`,
    router === undefined ? '' : ` of router ${JSON.stringify(router)}`,
    tenant === undefined
      ? ''
      : tenant === null
        ? ' of no tenant'
        : ` of tenant ${JSON.stringify(tenant)}`,
  ];
  return parts.join('');
};

function idsText(ids: readonly string[]): string {
  const told = ids.slice(0, NAMESAKES_TOLD_MAX).join(', ');
  return `one of the ids ${told}${ids.length > NAMESAKES_TOLD_MAX ? ', …' : ''}`;
}
