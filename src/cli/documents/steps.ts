/**
 * From documents and what there is to the steps that make the one like the other: the difference,
 * field by field, in an order in which every reference leads to what is there already.
 *
 * Invariant: a step writes only fields that a document gives and that differ; what no document
 * speaks of stays as it is, unless it is pruned. Computed anew from what there is, so a run that
 * was interrupted anywhere is finished by the next.
 */
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { madeMac } from '#virtual/plan/objects.ts';
import { referencesTo } from '#virtual/references.ts';
import { sameObject } from '#virtual/same.ts';
import { titleOf } from '../names.ts';
import { type Document, fieldSchema, type Fields, mapGiven } from './document.ts';
import { placeText, titleOfDocument, type PlacedFault } from './read.ts';
import { Cascades, type Gone, KINDS_IN_ORDER, type Stand } from './stand.ts';
import { Subjects } from './subjects.ts';

/** What is done about one object. `none`: it is as it should be, or gone as it should be. */
export type Deed = 'create' | 'update' | 'delete' | 'prune' | 'none';

/** One object that documents speak of, or that is pruned. */
export interface Aim {
  readonly kind: KindName;
  readonly deed: Deed;
  /** Its id; of one that is to be made, an id that stands for it. */
  readonly id: string;
  readonly before: StoredObject | undefined;
  readonly document: Document | undefined;
  /** The fields that are to be set; null clears. */
  readonly changes: Fields;
  /** How people call it, with its kind. */
  readonly title: string;
}

/** One operation. An object may take several. */
export interface Step {
  readonly op: 'create' | 'update' | 'delete';
  readonly kind: KindName;
  readonly id: string;
  readonly body: Fields;
  /** The object that the step is for. */
  readonly aim: Aim;
  /** Rows that it changes at most. */
  readonly rows: number;
}

export interface Steps {
  /** In the order of the documents; what is pruned comes last. */
  readonly aims: readonly Aim[];
  readonly steps: readonly Step[];
  /** Other orders, for when these steps stand in each other's way, from gentle to rough. */
  readonly others: () => readonly (readonly Step[])[];
  readonly subjects: Subjects;
}

export interface Prune {
  /** Labels that an object must all have: `app=web`. */
  readonly labels: readonly string[];
}

/** The reference that shows at both ends: to set it at one is enough. */
const MUTUAL = { kind: 'port', field: 'peer' } as const;
/** What makes a port carry frames. */
const PLACES = [MUTUAL.field, 'host', 'interface'] as const;

const valueOf = (object: StoredObject | undefined, field: string): unknown =>
  (object as Fields | undefined)?.[field];

/** What a field of an object has when it is cleared. */
function defaultOf(kind: KindName, field: string, object: StoredObject): unknown {
  if (kind === 'port' && field === 'mac' && valueOf(object, 'type') === 'router')
    return madeMac(object.id);
  const parsed = fieldSchema(kindOf(kind), field)?.safeParse(undefined);
  return parsed?.success === true ? parsed.data : undefined;
}

/** The fields of a document that the object does not have so. */
function differences(kind: KindName, fields: Fields, object: StoredObject): Fields {
  const changes: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(fields)) {
    const wanted = value === null ? defaultOf(kind, field, object) : value;
    const isForeign = value === null && valueOf(object, field) === undefined;
    if (!isForeign && !sameObject(wanted ?? undefined, valueOf(object, field) ?? undefined))
      changes[field] = value;
  }
  return changes;
}

const hasLabels = (object: StoredObject, labels: readonly string[]): boolean => {
  const own = valueOf(object, 'labels');
  return Array.isArray(own) && labels.every((label) => own.includes(label));
};

const words = (kind: KindName): string => kind.replaceAll('-', ' ');

/** What is to be done about the object of each document. */
function aimsOf(subjects: Subjects, faults: PlacedFault[]): Aim[] {
  return subjects.all.map(({ kind, document, object, id, fields }) => {
    const aim = { kind, id, before: object, document, title: titleOfDocument(document) };
    if (document.remove)
      return { ...aim, deed: object === undefined ? 'none' : 'delete', changes: {} };
    if (object === undefined) {
      const given = Object.entries(fields).filter(([, value]) => value !== null);
      return { ...aim, deed: 'create', changes: Object.fromEntries(given) };
    }
    const changes = differences(kind, fields, object);
    for (const path of Object.keys(changes))
      if (kindOf(kind).immutable.includes(path))
        faults.push({
          place: { file: document.place.file, line: document.lineOf(path) },
          what: titleOfDocument(document),
          path,
          message: `cannot change once the ${words(kind)} exists`,
        });
    return { ...aim, deed: Object.keys(changes).length === 0 ? 'none' : 'update', changes };
  });
}

/**
 * Compares documents with what there is. Answers what is wrong with the documents instead, if
 * anything is.
 */
export function planSteps(
  stand: Stand,
  documents: readonly Document[],
  prune?: Prune,
): Steps | readonly PlacedFault[] {
  const isPruned = (object: StoredObject): boolean =>
    prune !== undefined && hasLabels(object, prune.labels);
  const subjects = new Subjects(stand, documents, isPruned);
  const faults = [...subjects.faults];
  const aims = aimsOf(subjects, faults);
  const places = new Map(documents.map((document, i) => [document, i]));
  const placeOf = ({ document }: Aim): number => (document && places.get(document)) ?? 0;
  aims.sort((a, b) => placeOf(a) - placeOf(b));
  if (prune !== undefined) aims.push(...pruned(stand, subjects, prune));
  const changing = new Map(aims.map(({ kind, id, changes }) => [`${kind}/${id}`, changes]));
  const cascades = new Cascades(stand, ({ kind, object, field }) => {
    const changes = changing.get(`${kind}/${object.id}`);
    return changes !== undefined && field in changes;
  });
  faults.push(...endangered(stand, cascades, aims));
  if (faults.length > 0) return faults;
  const links = releases(stand, aims);
  const made = creations(aims);
  const changed = updates(aims);
  const gone = removals(cascades, aims);
  const others = (): Step[][] => {
    const isLate = (step: Step): boolean =>
      isHeld(step) || cascades.isBeingLeft(step.kind, step.id);
    const [late, early] = [gone.filter(isLate), gone.filter((step) => !isLate(step))];
    return [
      [...links, ...early, ...made, ...changed, ...late],
      [...links, ...early, ...vacations(aims), ...made, ...updates(aims, stayed), ...late],
    ];
  };
  return { aims, steps: [...links, ...made, ...changed, ...gone], others, subjects };
}

function pruned(stand: Stand, subjects: Subjects, { labels }: Prune): Aim[] {
  return KINDS_IN_ORDER.flatMap((kind) =>
    stand
      .list(kind)
      .filter((object) => hasLabels(object, labels) && subjects.documentOf(object.id) === undefined)
      .map((object) => ({
        kind,
        deed: 'prune' as const,
        id: object.id,
        before: object,
        document: undefined,
        changes: {},
        title: titleOfObject(stand, kind, object),
      })),
  );
}

const goes = ({ deed }: Aim): boolean => deed === 'delete' || deed === 'prune';
/** How people call an object, with its kind. */
export const titleOfObject = (stand: Stand, kind: KindName, object: StoredObject): string =>
  `${kind} ${titleOf(kind, object, (target, id) => stand.get(target, id)?.name ?? id)}`;

/** What would go with what is deleted, and must not. */
function endangered(stand: Stand, cascades: Cascades, aims: readonly Aim[]): PlacedFault[] {
  const faults: PlacedFault[] = [];
  const byId = new Map(aims.map((aim) => [`${aim.kind}/${aim.id}`, aim]));
  for (const aim of aims) {
    if (!goes(aim)) continue;
    for (const { kind, object } of cascades.of(aim.kind, aim.id)) {
      const other = byId.get(`${kind}/${object.id}`);
      const place = aim.document?.place;
      const name = titleOfObject(stand, kind, object);
      if (other === undefined ? aim.deed === 'delete' : goes(other)) continue;
      const why =
        other?.document === undefined
          ? 'which has not the label'
          : `which ${placeText(other.document.place)} describes`;
      const verb = aim.deed === 'prune' ? 'cannot be pruned' : 'cannot be deleted';
      faults.push({
        place,
        what: aim.title,
        path: '',
        message: `${verb}: with it would go ${name}, ${why}`,
      });
    }
  }
  return faults;
}

/** How many rows a change of a port's link and binding takes along, the port included. */
const rowsOf = (kind: KindName, changes: Fields): number => {
  if (kind !== MUTUAL.kind) return 1;
  return 1 + ('peer' in changes ? 2 : 0) + ('host' in changes ? 1 : 0);
};

/**
 * Links that give way are ended first: a port that is to be linked cannot be the end of another
 * link meanwhile. Only links that documents say are over; others are for the API to refuse.
 */
function releases(stand: Stand, aims: readonly Aim[]): Step[] {
  const ports = new Map(
    aims.filter(({ kind }) => kind === MUTUAL.kind).map((aim) => [aim.id, aim]),
  );
  const isOver = (aim: Aim | undefined): aim is Aim =>
    aim !== undefined && (goes(aim) || MUTUAL.field in aim.changes);
  const steps = new Map<string, Step>();
  for (const { id: from, changes } of ports.values()) {
    const id = changes[MUTUAL.field];
    if (typeof id !== 'string') continue;
    const old = valueOf(stand.get(MUTUAL.kind, id), MUTUAL.field);
    if (typeof old !== 'string' || old === from) continue;
    const aim = [ports.get(id), ports.get(old)].find(isOver);
    const body = { [MUTUAL.field]: null };
    if (aim !== undefined)
      steps.set(id, { op: 'update', kind: MUTUAL.kind, id, body, aim, rows: 2 });
  }
  return [...steps.values()];
}

/** The ids that a body names, by field. */
function namesOf(kind: KindName, body: Fields): Map<string, string[]> {
  const found = new Map<string, string[]>();
  mapGiven(kind, body, ({ path, given }) => {
    const field = path.split('.')[0] ?? path;
    if (typeof given === 'string') found.getOrInsertComputed(field, () => []).push(given);
    return given;
  });
  return found;
}

/** Creations, what is named before what names it; what cannot be so is set by an update after. */
/**
 * Ports that come with rules are put to their places last: of several transactions the first would
 * let pass what the rules of later ones are there to keep.
 */
function creations(aims: readonly Aim[]): Step[] {
  const made = new Map<string, Aim>();
  for (const aim of aims) if (aim.deed === 'create') made.set(aim.id, aim);
  const placed = new Set<string>();
  const steps: Step[] = [];
  const later: Step[] = [];
  const placing: Step[] = [];
  const isFiltered = [...made.values()].some(({ kind }) => kind === 'rule');
  for (const kind of KINDS_IN_ORDER)
    for (const aim of made.values()) {
      if (aim.kind !== kind) continue;
      const body: Record<string, unknown> = { ...aim.changes };
      const deferred: Record<string, unknown> = {};
      for (const [field, ids] of namesOf(kind, aim.changes)) {
        if (ids.every((id) => !made.has(id) || placed.has(id))) continue;
        delete body[field];
        const [other = ''] = ids;
        const isMutual = kind === MUTUAL.kind && field === MUTUAL.field;
        // The other end, which comes later, says it too.
        if (isMutual && made.get(other)?.changes[field] === aim.id) continue;
        deferred[field] = aim.changes[field];
      }
      if (isFiltered && kind === MUTUAL.kind)
        for (const field of PLACES)
          if (field in body) {
            deferred[field] = body[field];
            delete body[field];
          }
      placed.add(aim.id);
      const step = { kind, id: aim.id, aim };
      steps.push({ ...step, op: 'create', body, rows: rowsOf(kind, body) });
      if (Object.keys(deferred).length > 0)
        (kind === MUTUAL.kind ? placing : later).push({
          ...step,
          op: 'update',
          body: deferred,
          rows: rowsOf(kind, deferred),
        });
    }
  return [...steps, ...later, ...placing];
}

/** `stays`: what else each update says, of what was taken from the object before. */
function updates(aims: readonly Aim[], stays: (aim: Aim) => Fields = () => ({})): Step[] {
  return KINDS_IN_ORDER.flatMap((kind) =>
    aims
      .filter((aim) => aim.kind === kind && aim.deed === 'update')
      .map((aim) => {
        const body = { ...stays(aim), ...aim.changes };
        return { op: 'update', kind, id: aim.id, body, aim, rows: rowsOf(kind, body) };
      }),
  );
}

/** Whoever names it must have let go before it is deleted. */
const isHeld = ({ kind }: Step): boolean =>
  referencesTo(kind).some(({ reference }) => reference.onDelete === 'refuse');

/** What only one port can have at a time; the two halves of a binding go together. */
const EXCLUSIVE = ['peer', 'host', 'interface', 'addresses', 'vlan'] as const;
const BINDING: readonly string[] = ['host', 'interface'];

/** The exclusive fields that an update takes from what the port has now. */
function vacated({ kind, deed, changes, before }: Aim): string[] {
  if (kind !== MUTUAL.kind || deed !== 'update') return [];
  const isRebound = BINDING.some((field) => field in changes);
  return EXCLUSIVE.filter(
    (field) =>
      valueOf(before, field) !== undefined &&
      (field in changes || (isRebound && BINDING.includes(field))),
  );
}

/**
 * Ports that exchange what only one of them can have give it up first. What they carried stops
 * until their update, so this is done only where nothing gentler goes.
 */
function vacations(aims: readonly Aim[]): Step[] {
  return aims.flatMap((aim) => {
    const fields = vacated(aim);
    if (fields.length === 0) return [];
    const { kind, id } = aim;
    const body = Object.fromEntries(fields.map((field) => [field, null]));
    return [{ op: 'update' as const, kind, id, body, aim, rows: rowsOf(kind, body) }];
  });
}
const stayed = (aim: Aim): Fields =>
  Object.fromEntries(vacated(aim).map((field) => [field, valueOf(aim.before, field)]));

/** Deletions, what names others first. */
function removals(cascades: Cascades, aims: readonly Aim[]): Step[] {
  const going = aims.filter(goes);
  const gone = new Set<string>();
  const steps: Step[] = [];
  for (const kind of KINDS_IN_ORDER.toReversed())
    for (const aim of going) {
      if (aim.kind !== kind) continue;
      const with_ = [{ kind, id: aim.id }, ...cascades.of(kind, aim.id).map(idOf)];
      const left = with_.filter((each) => !gone.has(`${each.kind}/${each.id}`));
      for (const each of left) gone.add(`${each.kind}/${each.id}`);
      const rows = left.reduce((sum, each) => sum + (each.kind === MUTUAL.kind ? 3 : 1), 0);
      steps.push({ op: 'delete', kind, id: aim.id, body: {}, aim, rows });
    }
  return steps;
}
const idOf = ({ kind, object }: Gone): { kind: KindName; id: string } => ({ kind, id: object.id });
