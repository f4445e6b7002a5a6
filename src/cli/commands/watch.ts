/**
 * `mn watch`: changes as they become durable, one line each, in the store's order. Lines for people
 * name objects and show what changed; JSON lines are the events as the API sends them.
 */
import { type Command, Option } from 'commander';
import type { RowChange } from '#virtual/change.ts';
import { KIND_NAMES, type KindName, type StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { examples } from '../examples.ts';
import { fieldsOf } from '../fields.ts';
import { styled } from '../format.ts';
import { cellOf, type Lookup, titleOf } from '../names.ts';
import { action, numberOption, type Session } from '../session.ts';
import type { WatchEvent } from '#client/types.ts';

/**
 * Objects whose last state is remembered, to show only what changed; beyond, changes show every
 * column.
 */
export const REMEMBERED_MAX = 100_000;

/**
 * Turns changes into lines; keeps what it needs to name objects that are gone and to tell what
 * changed.
 */
class Narrator {
  readonly #names = new Map<string, string>();
  readonly #last = new Map<string, StoredObject>();
  readonly #name: Lookup = (kind, id) => this.#names.get(`${kind}/${id}`) ?? id;

  /**
   * `fromNow`: what is remembered before the first line is how things were before it; else only
   * names are.
   */
  constructor(fromNow: boolean) {
    this.#known = fromNow;
  }
  /** Whether an object that is not remembered cannot have been there. */
  #known: boolean;

  /** All there is, before the first line. */
  start(kind: KindName, object: StoredObject): void {
    this.#remember(kind, object, this.#known);
  }

  #remember(kind: KindName, object: StoredObject, whole: boolean): void {
    const key = `${kind}/${object.id}`;
    if (this.#names.size >= REMEMBERED_MAX && !this.#names.has(key)) {
      this.#known = false;
      return;
    }
    this.#names.set(key, titleOf(kind, object, this.#name));
    if (whole) this.#last.set(key, object);
  }

  #title({ kind, id, put }: RowChange): string {
    if (kind === 'location') return `${kind} ${this.#name('port', id)}`;
    return `${kind} ${put === undefined ? this.#name(kind, id) : titleOf(kind, put, this.#name)}`;
  }

  #changed(kind: KindName, put: StoredObject): string {
    const before = this.#last.get(`${kind}/${put.id}`) as
      | Readonly<Record<string, unknown>>
      | undefined;
    const now = put as unknown as Readonly<Record<string, unknown>>;
    const parts: string[] = [];
    for (const field of fieldsOf(kindOf(kind))) {
      if (['id', 'name'].includes(field.name) && before === undefined) continue;
      const text = cellOf(field, now[field.name], this.#name);
      if (
        before === undefined ? text === '' : text === cellOf(field, before[field.name], this.#name)
      )
        continue;
      parts.push(`${field.flag}=${text === '' ? '-' : text}`);
    }
    const what = before !== undefined ? 'changed' : this.#known ? 'new' : 'now';
    return `${what}  ${parts.join('  ')}`.trimEnd();
  }

  line(revision: number, row: RowChange): string {
    const title = `${revision}  ${this.#title(row)}`;
    if (row.put === undefined) {
      this.#last.delete(`${row.kind}/${row.id}`);
      return `${title}  deleted`;
    }
    const text = `${title}  ${this.#changed(row.kind, row.put)}`;
    this.#remember(row.kind, row.put, true);
    return text;
  }
}

/** Prints one event; answers how many lines it came to. */
function tell(
  session: Session,
  event: WatchEvent,
  how: { readonly narrator: Narrator | undefined; readonly kinds: readonly string[] },
): number {
  const wanted = (kind: string): boolean => how.kinds.length === 0 || how.kinds.includes(kind);
  if (event.type === 'snapshot') {
    for (const { kind, object } of event.objects) how.narrator?.start(kind, object);
    session.io.err(
      `${styled(session.io, 'dim', 'note:')} all there is, at revision ${event.revision}\n`,
    );
    return 0;
  }
  if (event.type !== 'change') return 0;
  const rows = event.change.rows.filter((row) => wanted(row.kind));
  const { narrator } = how;
  if (narrator !== undefined)
    for (const row of rows) session.io.out(`${narrator.line(event.change.revision, row)}\n`);
  else if (rows.length > 0)
    session.io.out(`${JSON.stringify({ ...event, change: { ...event.change, rows } })}\n`);
  return rows.length;
}

export function addWatch(session: Session, program: Command): void {
  const watch = program
    .command('watch')
    .description('changes as they happen, until interrupted')
    .helpGroup('Looking:');
  examples(watch, ['mn watch --kind port route', 'mn watch --since 1 --count 3 -o json'])
    .addOption(new Option('--kind <kinds...>', 'only changes of these kinds').choices(KIND_NAMES))
    .addOption(numberOption('--since <revision>', 'first every change after this revision'))
    .addOption(numberOption('--count <n>', 'stop after so many changes'))
    .addOption(
      new Option('-o, --output <format>', 'lines for people, or one JSON object a line')
        .choices(['table', 'json'])
        .default('table'),
    )
    .action(
      action(session, async (_args, options) => {
        const { client, signal } = session.io;
        const kinds = (options['kind'] ?? []) as readonly string[];
        const narrator =
          options['output'] === 'json' ? undefined : new Narrator(options['since'] === undefined);
        const start = await client.list('host', { limit: 1 });
        if (narrator !== undefined)
          for (const kind of KIND_NAMES)
            for (const object of await client.listAll(kind)) narrator.start(kind, object);
        const done = new AbortController();
        const signals = signal === undefined ? [done.signal] : [done.signal, signal];
        const since = (options['since'] as number | undefined) ?? start.revision;
        let left = (options['count'] as number | undefined) ?? Infinity;
        for await (const event of client.watch({ since, signal: AbortSignal.any(signals) })) {
          left -= tell(session, event, { narrator, kinds });
          if (left <= 0) break;
        }
        done.abort();
      }),
    );
}
