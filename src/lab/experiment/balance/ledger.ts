/**
 * What became of every request that is counted: read from what clients and members have written,
 * and judged by what was done to members meanwhile.
 */
import { existsSync, readFileSync } from 'node:fs';
import { intruded, judge, type Loss, type Rest, type Verdict } from './judge.ts';
import { outcomeOf, type ProbeOutcome } from './prober.ts';

export interface Sheet {
  readonly counts: Record<Verdict, number>;
  /** New connections to members that were to get none. */
  intrusions: number;
  slowestMs: number;
  /** What must not be, in words. */
  readonly faults: string[];
}
export const emptySheet = (): Sheet => ({
  counts: { answered: 0, 'in-flight': 0, unnoticed: 0, wrong: 0 },
  ...{ intrusions: 0, slowestMs: 0, faults: [] },
});
export function addSheet(to: Sheet, { counts, intrusions, slowestMs, faults }: Sheet): void {
  for (const verdict of Object.keys(counts) as Verdict[]) to.counts[verdict] += counts[verdict];
  to.intrusions += intrusions;
  to.slowestMs = Math.max(to.slowestMs, slowestMs);
  to.faults.push(...faults);
}

export class Ledger {
  readonly losses: Loss[] = [];
  readonly rests: Rest[] = [];
  /** Of each client what it wrote, and how much of that was read. */
  readonly #clients: Map<string, number>;
  /** By member: which requests it had taken. */
  readonly #taken: ReadonlyMap<string, string>;

  constructor(clients: readonly string[], taken: ReadonlyMap<string, string>) {
    this.#clients = new Map(clients.map((path) => [path, 0]));
    this.#taken = taken;
  }

  /** Of the requests that have ended since the last time. */
  read(): Sheet {
    const sheet = emptySheet();
    for (const [path, from] of this.#clients) {
      const text = readFileSync(path, 'latin1');
      const end = text.lastIndexOf('\n') + 1;
      this.#clients.set(path, end);
      for (const line of text.slice(from, end).split('\n')) {
        const outcome = outcomeOf(line);
        if (outcome !== undefined) this.#enter(sheet, outcome);
        else if (line !== '') sheet.faults.push(`a client said: ${line}`);
      }
    }
    return sheet;
  }

  #enter(sheet: Sheet, outcome: ProbeOutcome): void {
    const { id, startMs, endMs, member, error } = outcome;
    const takenBy = error === undefined ? member : this.#takerOf(id);
    const verdict = judge(outcome, this.losses, takenBy);
    sheet.counts[verdict] += 1;
    sheet.slowestMs = Math.max(sheet.slowestMs, endMs - startMs);
    if (verdict === 'wrong')
      sheet.faults.push(`${id} at ${at(startMs)}: ${error} after ${endMs - startMs} ms`);
    const rest = intruded(outcome, this.rests);
    if (rest === undefined) return;
    sheet.intrusions += 1;
    const after = startMs - rest.fromMs;
    sheet.faults.push(`${id} at ${at(startMs)}: ${member} got it ${after} ms after it was to rest`);
  }
  #takerOf(id: string): string | undefined {
    for (const [member, path] of this.#taken)
      if (existsSync(path) && readFileSync(path, 'latin1').includes(`${id}\n`)) return member;
    return undefined;
  }
}

/** The time of day. */
const at = (ms: number): string => new Date(ms).toISOString().slice(11, 23);
