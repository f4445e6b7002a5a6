/**
 * `POST /v1/what-if`: what a change would break, open or move of the flows that are live now,
 * before anyone commits it.
 *
 * Invariants: nothing is written; few run at a time on one node; what a caller is told of flows and
 * of what is on their way is what `mn flows` and a trace would tell it.
 */
import { z } from 'zod';
import {
  type FlowChange,
  FLOW_CLASSES,
  type FlowFate,
  WHAT_IF_FLOWS,
  WHAT_IF_FLOWS_MAX,
  WHAT_IF_LISTED_MAX,
  WHAT_IF_OPERATIONS_MAX,
  type WhatIf,
} from '#client/what-if.ts';
import type { Operation } from '#client/types.ts';
import { DROPS } from '#virtual/drop.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { fieldsOf } from '#virtual/match.ts';
import type { Topology } from '#virtual/topology.ts';
import { describeOutcome } from '#virtual/trace.ts';
import { hostWord, portsByHost } from './host-pages.ts';
import { flowRow, type Reader, readerOf } from './flow-rows.ts';
import { sightOf } from './lists.ts';
import type { Node } from './node.ts';
import { operationsBody } from './operation-body.ts';
import { Refusal } from './problems.ts';
import { type Call, json, NOT_HOSTS, readBody, type Route } from './route.ts';
import * as trace from './trace-text.ts';
import { compareFlows, type ComparedFlow, type Decided } from './what-if.ts';
import { propose, type ChangedObject } from './what-if-plan.ts';

/** At a time on one node: each holds two copies of the topology. */
export const WHAT_IFS_MAX = 2;

export const WhatIfBody = z
  .strictObject({
    operations: operationsBody(WHAT_IF_OPERATIONS_MAX),
    flows: z
      .int()
      .min(1, 'must be at least 1')
      .max(WHAT_IF_FLOWS_MAX, `must be at most ${WHAT_IF_FLOWS_MAX}`)
      .default(WHAT_IF_FLOWS)
      .describe('Look at no more flows than these, shared among the hosts.'),
  })
  .meta({ id: 'WhatIfRequest', description: 'Operations that are not carried out.' });

const text = z.string();
const kind = z.enum(KIND_NAMES);
const count = z.int();
const fate = z.object({
  effect: z.enum(['delivered', 'answered', 'waits', 'dropped', 'gone']),
  reason: text.optional(),
  about: text.optional(),
  step: text.optional(),
  lines: z.array(text),
});
export const WhatIfResultBody = z.object({
  revision: count,
  changes: count,
  objects: z.array(
    z.object({
      op: z.enum(['create', 'update', 'delete']),
      kind,
      id: text,
      name: text.optional(),
    }),
  ),
  counts: z.object({ broken: count, opened: count, moved: count, unchanged: count }),
  flows: z.array(
    z.object({
      class: z.enum(FLOW_CLASSES),
      id: text,
      host: text.optional(),
      hostName: text.optional(),
      port: text.optional(),
      portName: text.optional(),
      from: text.optional(),
      match: text,
      key: text,
      packets: count,
      bytes: count,
      changed: z.array(z.enum(['recipients', 'hosts', 'rewrites', 'route'])),
      depends: z.array(text),
      before: fate,
      after: fate,
    }),
  ),
  notListed: count,
  coverage: z.object({
    flows: count,
    hosts: count.optional(),
    missing: z.array(z.object({ host: text, why: text })),
    partly: z.array(text),
    otherwise: count,
  }),
});

function fateText({ fate, outcome, placed }: Decided, topology: Topology, call: Call): FlowFate {
  const { effect, reason } = fate;
  const about = reason === undefined ? {} : { reason, about: DROPS[reason].about };
  if (outcome === undefined) return { effect, ...about, lines: [] };
  const reader = trace.readerOf(topology, sightOf(call.caller.token, topology));
  const lines = describeOutcome(outcome, topology, reader.knows);
  if (outcome.verdict.kind === 'forward' && placed?.drop !== undefined)
    lines.push(`drop: ${DROPS[placed.drop].about}`);
  // An error that is told behind a drop decides nothing.
  const at = outcome.steps.findLastIndex(({ did }) => did === 'drop');
  const step = lines[at < 0 ? outcome.steps.length - 1 : at];
  return { effect, ...about, ...(step !== undefined && { step }), lines };
}

interface Told {
  readonly call: Call;
  readonly reader: Reader;
  readonly before: Topology;
  readonly after: Topology;
}

function changeOf(
  flow: ComparedFlow,
  { call, reader, before, after }: Told,
): FlowChange | undefined {
  const row = flowRow(flow.host, flow.part, reader);
  if (row === undefined) return undefined;
  const { host, hostName, port, portName, from, match, packets, bytes } = row;
  return {
    class: flow.class,
    id: row.id,
    ...(host !== undefined && { host }),
    ...(hostName !== undefined && { hostName }),
    ...(port !== undefined && { port }),
    ...(portName !== undefined && { portName }),
    ...(from !== undefined && { from }),
    match,
    key: flow.part.key,
    packets,
    bytes,
    changed: flow.changed,
    depends: fieldsOf(flow.depends),
    before: fateText(flow.before, before, call),
    after: fateText(flow.after, after, call),
  };
}

/** Of each class those with most packets, in the order in which the classes are told. */
function listed(flows: readonly ComparedFlow[]): ComparedFlow[] {
  const byPackets = (a: ComparedFlow, b: ComparedFlow): number => b.part.packets - a.part.packets;
  return FLOW_CLASSES.flatMap((name) =>
    flows
      .filter((flow) => flow.class === name)
      .toSorted(byPackets)
      .slice(0, WHAT_IF_LISTED_MAX),
  );
}

function objectOf({ kind, id, before, after }: ChangedObject): WhatIf['objects'][number] {
  const op = before === undefined ? 'create' : after === undefined ? 'delete' : 'update';
  const name = (after ?? before)?.name;
  return { op, kind, id, ...(name !== undefined && { name }) };
}

async function whatIf(node: Node, call: Call): Promise<WhatIf> {
  const { request, caller } = call;
  const { operations, flows: flowsMax } = await readBody(request, WhatIfBody);
  const options = { signal: request.signal, caller: caller.id };
  const proposal = await propose(node, caller, operations as readonly Operation[], options);
  const { before, after } = proposal;
  const reader = readerOf(caller.token, before);
  const sees = sightOf(caller.token, before);
  const seesAfter = sightOf(caller.token, after);
  const changed = proposal.changed.filter(
    (one) =>
      (one.before !== undefined && sees(one.kind, one.before)) ||
      (one.after !== undefined && seesAfter(one.kind, one.after)),
  );
  const asked = reader.operator
    ? Array.from(before.list('host'), ({ id: host }) => ({ host }))
    : portsByHost(reader);
  const found = await compareFlows(node, { proposal, asked, flowsMax, options });
  const told = listed(found.flows)
    .map((flow) => changeOf(flow, { call, reader, before, after }))
    .filter((flow) => flow !== undefined);
  return {
    revision: before.revision,
    changes: changed.length,
    objects: changed.slice(0, WHAT_IF_LISTED_MAX).map(objectOf),
    counts: found.counts,
    flows: told,
    notListed: found.flows.length - told.length,
    coverage: {
      flows: found.looked,
      ...(reader.operator && { hosts: found.hosts }),
      missing: found.missing.map(({ host, why }) => ({ host: hostWord(reader, host), why })),
      partly: found.partly.map((host) => hostWord(reader, host)),
      otherwise: found.otherwise,
    },
  };
}

export function whatIfRoute(node: Node): Route {
  let running = 0;
  return {
    method: 'POST',
    path: '/v1/what-if',
    operationId: 'what-if',
    about: 'What a change would break, open or move of the flows that are live now.',
    who: NOT_HOSTS,
    input: 'WhatIfRequest',
    output: 'WhatIf',
    handle: async (call) => {
      if (running >= WHAT_IFS_MAX) {
        const detail = `${running} such questions are being answered already`;
        throw new Refusal(503, { detail, headers: { 'retry-after': '1' } });
      }
      running += 1;
      try {
        return json(await whatIf(node, call));
      } finally {
        running -= 1;
      }
    },
  };
}
