/**
 * What the parts of a plan share: the caller, the draft, the faults found, and how names become
 * ids.
 */
import type { Draft } from '../draft.ts';
import type { Fault, KindName, StoredObject } from '../kind.ts';
import { kindOf } from '../kinds.ts';
import { isServicePort } from '../member-health/service-port.ts';

export type Body = Readonly<Record<string, unknown>>;
export type CreateOperation = {
  readonly op: 'create';
  readonly kind: KindName;
  readonly body: Body;
};
/** `id`: an id or a unique name. `body`: a merge patch (RFC 7396). */
export type UpdateOperation = {
  readonly op: 'update';
  readonly kind: KindName;
  readonly id: string;
  readonly body: Body;
  readonly ifRevision?: number;
};
export type DeleteOperation = {
  readonly op: 'delete';
  readonly kind: KindName;
  readonly id: string;
  readonly ifRevision?: number;
};
export type Operation = CreateOperation | UpdateOperation | DeleteOperation;

/** Who asks, as far as it decides what may be done. */
export type Caller =
  | { readonly role: 'operator' }
  | { readonly role: 'tenant'; readonly tenant: string }
  | { readonly role: 'host'; readonly host: string };

/** Ids and keys come from outside: they must be unique beyond what the topology shows. */
export interface PlanContext {
  readonly caller: Caller;
  newId(): string;
  /** The number of a network: a bridge's flood key, a router's network key. */
  nextFloodKey(): number;
  nextTunnelKey(host: string): number;
  /** Of a plan that is only told: rows it may have, in place of TRANSACTION_ROWS_MAX. */
  readonly rowsMax?: number;
}

export type PlanStatus = 400 | 403 | 404 | 409 | 412 | 413;
export interface Refusal {
  readonly ok: false;
  readonly status: PlanStatus;
  readonly faults: readonly Fault[];
}

/** Faults as they are found, each once; the first decides the status. */
export class FaultList {
  /** Index of the operation that faults are about. */
  operation = 0;
  readonly #many: boolean;
  readonly #faults = new Map<string, Fault>();
  #status: PlanStatus | undefined;

  constructor(many: boolean) {
    this.#many = many;
  }
  add(status: PlanStatus, path: string, message: string): void {
    this.#status ??= status;
    const prefix = this.#many ? `operations.${this.operation}` : '';
    const fault = { path: [prefix, path].filter((part) => part !== '').join('.'), message };
    this.#faults.set(`${fault.path}: ${message}`, fault);
  }
  get count(): number {
    return this.#faults.size;
  }
  get refusal(): Refusal | undefined {
    if (this.#status === undefined) return undefined;
    return { ok: false, status: this.#status, faults: [...this.#faults.values()] };
  }
}

export interface Work {
  readonly draft: Draft;
  readonly faults: FaultList;
  readonly context: PlanContext;
}

/** Operators see everything, tenants what is theirs, hosts the ports bound to them. */
export function visibleTo(caller: Caller, object: StoredObject): boolean {
  if (caller.role === 'operator') return true;
  if (caller.role === 'tenant') return object.tenant === caller.tenant;
  return (object as { readonly host?: unknown }).host === caller.host;
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const NAMESAKES_TOLD_MAX = 5;

export type Resolved =
  | { readonly id: string }
  | { readonly status: 404 | 409; readonly fault: string };

/** An id or unique name of an object of a kind that the caller may see. */
export function resolve({ draft, context }: Work, kind: KindName, text: string): Resolved {
  const sees = (id: string): boolean => {
    const object = draft.get(kind, id);
    return object !== undefined && visibleTo(context.caller, object);
  };
  if (UUID.test(text)) {
    const id = text.toLowerCase();
    return sees(id) ? { id } : { status: 404, fault: `no ${wordsOf(kind)} has the id ${id}` };
  }
  const ids = draft.named(kind, text).filter(sees).sort();
  const [id] = ids;
  const quoted = JSON.stringify(text);
  if (id === undefined) return { status: 404, fault: `no ${wordsOf(kind)} is named ${quoted}` };
  if (ids.length === 1) return { id };
  const told = ids.slice(0, NAMESAKES_TOLD_MAX).join(', ');
  const more = ids.length > NAMESAKES_TOLD_MAX ? ', …' : '';
  const plural = kindOf(kind).path.replaceAll('-', ' ');
  return {
    status: 409,
    fault: `${ids.length} ${plural} are named ${quoted}: give one of the ids ${told}${more}`,
  };
}

/** The kind as people say it. */
export const wordsOf = (kind: KindName): string => kind.replaceAll('-', ' ');

/** The object that an operation names, if it is there, visible and at the revision asked for. */
export function findTarget(
  work: Work,
  { kind, id: text, ifRevision }: UpdateOperation | DeleteOperation,
): StoredObject | undefined {
  const found = resolve(work, kind, text);
  if (!('id' in found)) {
    work.faults.add(found.status, '', found.fault);
    return undefined;
  }
  const object = work.draft.get(kind, found.id);
  if (ifRevision !== undefined && object?.revision !== ifRevision) {
    work.faults.add(412, '', `is at revision ${object?.revision}, not ${ifRevision}`);
    return undefined;
  }
  if (kind === 'port' && isServicePort(object)) {
    const message = 'is made and removed by the server: a host checks members by it';
    work.faults.add(403, '', message);
    return undefined;
  }
  return object;
}
