/**
 * The thread that checks members: it goes into namespaces, which no other thread may, and what
 * members answer keeps nobody else waiting.
 */
import { parentPort, type MessagePort } from 'node:worker_threads';
import type { HealthReport } from '#client/types.ts';
import { monotonicMs } from '#os/clock.ts';
import { LIMITS } from '../limits.ts';
import { Checks } from './checks.ts';
import type { Duties } from './duties.ts';
import { probeBy } from './prober.ts';
import { Spaces } from './spaces.ts';

export type ToHealth =
  | { readonly type: 'duties'; readonly duties: Duties }
  | { readonly type: 'stop' };
export type FromHealth =
  | {
      readonly type: 'reports';
      readonly reports: readonly HealthReport[];
      readonly counts: HealthCounts;
    }
  | { readonly type: 'trouble'; readonly space: string; readonly error: string }
  | { readonly type: 'stopped' };
/** Since the start. */
export interface HealthCounts {
  readonly succeeded: number;
  readonly failed: number;
}

function run(port: MessagePort): void {
  const spaces = new Spaces();
  const counts = { succeeded: 0, failed: 0 };
  const checks = new Checks({
    probe: probeBy(spaces.inside),
    now: monotonicMs,
    onChecked: (ok) => void (counts[ok ? 'succeeded' : 'failed'] += 1),
  });
  const post = (message: FromHealth): void => port.postMessage(message);
  const make = (): void =>
    spaces.follow(checks.duties.spaces, (space, error) =>
      post({ type: 'trouble', space, error: String(error) }),
    );
  let told = '';
  const timer = setInterval(() => {
    make();
    checks.tick();
    const reports = checks.reports();
    const message = { type: 'reports', reports, counts: { ...counts } } as const;
    // What is to be told is told again; numbers alone only when they are others.
    const text = JSON.stringify(message);
    if (reports.length > 0 || text !== told) post(message);
    told = text;
  }, LIMITS.healthTickMs);
  port.on('message', (message: ToHealth) => {
    if (message.type === 'duties') {
      checks.follow(message.duties);
      make();
      return;
    }
    clearInterval(timer);
    spaces[Symbol.dispose]();
    post({ type: 'stopped' });
    port.close();
  });
}

if (parentPort !== null) run(parentPort);
