/**
 * Lists that the API has in pages and asks hosts for, as far as they are to be shown.
 *
 * Invariant: what is not shown is said, once a run: hosts that did not answer, and that there are
 * more.
 */
import type { MissingHost } from '#client/flows.ts';
import { styled } from './format.ts';
import type { Options, Session } from './session.ts';

/** Rows shown unless told. */
export const SHOWN = 1_000;
/** Rows shown at most: agents are asked for all that are shown, so more are refused. */
export const SHOWN_MAX = 100_000;

export interface PageQuery {
  readonly limit: number;
  readonly host?: string;
  readonly port?: string;
  readonly after?: string;
}
interface Page<Row> {
  readonly items: readonly Row[];
  readonly missing: readonly MissingHost[];
  readonly next?: string;
}
export interface Pages<Row> {
  /** What was said before. */
  readonly told: Set<string>;
  readonly fetch: (query: PageQuery) => Promise<Page<Row>>;
  readonly perPage: number;
  readonly noun: string;
}

/** Hosts that are missing, on stderr: the answer is not all there is. */
export function tellMissing(
  { io }: Session,
  missing: readonly MissingHost[],
  told = new Set<string>(),
): void {
  for (const { host, why } of missing) {
    if (told.has(`${host} ${why}`)) continue;
    told.add(`${host} ${why}`);
    io.err(`${styled(io, 'yellow', 'note:')} without ${host}: ${why}\n`);
  }
}

/** Rows of all pages, by the options `limit`, `host` and `port`. */
export async function loadPages<Row>(
  session: Session,
  options: Options,
  { told, fetch, perPage, noun }: Pages<Row>,
): Promise<Row[]> {
  const most = (options['limit'] as number | undefined) ?? SHOWN;
  const [host, port] = [options['host'], options['port']] as (string | undefined)[];
  const rows: Row[] = [];
  const missing: MissingHost[] = [];
  let after: string | undefined;
  do {
    const page = await fetch({
      limit: Math.min(perPage, most - rows.length),
      ...(host !== undefined && { host }),
      ...(port !== undefined && { port }),
      ...(after !== undefined && { after }),
    });
    rows.push(...page.items);
    missing.push(...page.missing);
    after = page.next;
  } while (after !== undefined && rows.length < most);
  tellMissing(session, missing, told);
  if (after !== undefined && !told.has('more')) {
    session.io.err(
      `${styled(session.io, 'yellow', 'note:')} there are more than ${most} ${noun}: ` +
        'ask by --port or --host, or with a larger --limit\n',
    );
    told.add('more');
  }
  return rows;
}
