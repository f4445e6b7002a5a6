/** What this agent answers of its health: `client/health-asks.ts`, row by row. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AskOf, PartOf } from '#client/asks.ts';
import { COUNTERS_CHUNK_MAX, type HEALTH_ASKS } from '#client/health-asks.ts';
import type { MainAnswer, MainContext } from './asks.ts';
import { examine } from './doctor/checks.ts';
import { hostEye, subjectOf } from './doctor/eye.ts';
import type { AgentMachine } from './machine.ts';
import { ProbeEar, sendProbes } from './probes.ts';
import { statsJson } from './stats.ts';

/** Between the probes to two hosts: their packets are no burst. */
const PROBE_PAUSE_MS = 2;

function machineOf({ machine }: MainContext): AgentMachine {
  if (machine === undefined) throw new Error('it has no machine to tell of');
  return machine;
}

function* chunks(name: string, text: string): Generator<PartOf<'counters'>[]> {
  for (let at = 0; at < text.length; at += COUNTERS_CHUNK_MAX)
    yield [{ name, text: text.slice(at, at + COUNTERS_CHUNK_MAX) }];
}

export const HEALTH_ANSWERS: {
  readonly [K in keyof typeof HEALTH_ASKS]: MainAnswer<K>;
} = {
  doctor: async function* ({ addresses, peers, interfaces }, context) {
    const subject = subjectOf({ addresses, peers, interfaces }, machineOf(context).place);
    yield* examine(hostEye(), subject);
  },
  'probe-listen': async function* ({ run, forMs }: AskOf<'probe-listen'>, context, signal) {
    void machineOf(context).place;
    using ear = new ProbeEar(run);
    yield [{ ready: true }];
    await sleep(forMs, undefined, { signal }).catch(() => undefined);
    yield ear.heard();
  },
  'probe-send': async function* ({ run, from, peers }, context, signal) {
    const { tunnelUdpPort } = machineOf(context).place;
    for (const { to, address } of peers) {
      if (signal.aborted) return;
      yield [{ to, ...sendProbes(address, tunnelUdpPort, { run, from }) }];
      await sleep(PROBE_PAUSE_MS);
    }
  },
  logs: async function* ({ after, most, text }, context) {
    const { lines, next, missed } = machineOf(context).logs.read({ after, most, text });
    yield [{ lines: [...lines], next, missed }];
  },
  'log-level': async function* ({ set }, context) {
    const { logs } = machineOf(context);
    yield [set === undefined ? logs.level : logs.setLevel(set.level, set.forMs)];
  },
  counters: async function* (_ask, context) {
    const machine = machineOf(context);
    yield* chunks('metrics', (await machine.meters.text()).text);
    yield* chunks('stats', statsJson(machine.place.runDir));
  },
};
