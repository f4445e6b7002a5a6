/**
 * How it fares, for operators: findings, logs and their levels, counters. What is a host's own is
 * asked of its agent.
 */
import { z } from 'zod';
import {
  type Finding,
  LOG_LEVEL_MS_DEFAULT,
  LOG_LEVEL_MS_MAX,
  LOG_LINES_MAX,
} from '#client/health-asks.ts';
import { LOG_LEVELS } from '#telemetry/log.ts';
import { examineAll } from './doctor.ts';
import { find } from './lists.ts';
import type { Node } from './node.ts';
import { refuseField } from './problems.ts';
import { type Call, integerOf, json, onlyQuery, readBody, type Route } from './route.ts';
import { statusOf } from './status.ts';

export const LogLevelBody = z
  .strictObject({
    level: z.enum(LOG_LEVELS),
    forMs: z
      .int()
      .min(1_000)
      .max(LOG_LEVEL_MS_MAX)
      .default(LOG_LEVEL_MS_DEFAULT)
      .describe('After so many milliseconds it is again what the program was started with.'),
  })
  .meta({ id: 'SetLogLevel', description: 'The level of a log, for a time.' });

const LINES_DEFAULT = 100;
const TEXT_MAX = 200;
const LOG_QUERY = [
  { name: 'after', about: 'Lines after this one; 0: all that are kept.', type: 'integer' },
  { name: 'limit', about: `The last of them, at most ${LOG_LINES_MAX}.`, type: 'integer' },
  { name: 'text', about: 'Lines that hold this, such as the id of a request.', type: 'string' },
] as const;

function linesOf({ query }: Call): { after: number; most: number; text: string } {
  onlyQuery(
    query,
    LOG_QUERY.map(({ name }) => name),
  );
  const most = integerOf(query, 'limit', LINES_DEFAULT);
  if (most > LOG_LINES_MAX) throw refuseField('limit', `must be at most ${LOG_LINES_MAX}`);
  const text = query.get('text') ?? '';
  if (text.length > TEXT_MAX) throw refuseField('text', `must have at most ${TEXT_MAX} characters`);
  return { after: integerOf(query, 'after', 0), most, text };
}

const hostOf = (node: Node, { params }: Call): string =>
  find(node.replica.topology, 'host', params['id'] ?? '', () => true).id;
const optionsOf = ({ request, caller }: Call) => ({ signal: request.signal, caller: caller.id });

const logRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/logs',
    operationId: 'get-logs',
    about: 'The last lines of the log of this node.',
    who: ['operator'],
    output: 'LogLines',
    query: LOG_QUERY,
    handle: (call) => json(node.logs.read(linesOf(call))),
  },
  {
    method: 'GET',
    path: '/v1/hosts/:id/logs',
    operationId: 'get-host-logs',
    about: "The last lines of the log of a host's agent.",
    who: ['operator'],
    output: 'LogLines',
    query: LOG_QUERY,
    handle: async (call) => {
      const ask = { kind: 'logs', ...linesOf(call) } as const;
      const [page] = await node.asks.one(hostOf(node, call), ask, optionsOf(call));
      return json(page ?? { lines: [], next: 0, missed: 0 });
    },
  },
];

const levelRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/log-level',
    operationId: 'get-log-level',
    about: 'The level of the log of this node, and the one it returns to.',
    who: ['operator'],
    output: 'LogLevel',
    handle: ({ query }) => {
      onlyQuery(query, []);
      return json(node.logs.level);
    },
  },
  {
    method: 'PUT',
    path: '/v1/log-level',
    operationId: 'set-log-level',
    about: 'Another level of the log of this node, for a time.',
    who: ['operator'],
    input: 'SetLogLevel',
    output: 'LogLevel',
    handle: async ({ request }) => {
      const { level, forMs } = await readBody(request, LogLevelBody);
      return json(node.logs.setLevel(level, forMs));
    },
  },
  {
    method: 'GET',
    path: '/v1/hosts/:id/log-level',
    operationId: 'get-host-log-level',
    about: "The level of the log of a host's agent, and the one it returns to.",
    who: ['operator'],
    output: 'LogLevel',
    handle: async (call) => {
      onlyQuery(call.query, []);
      const host = hostOf(node, call);
      const [levels] = await node.asks.one(host, { kind: 'log-level' }, optionsOf(call));
      return json(levels);
    },
  },
  {
    method: 'PUT',
    path: '/v1/hosts/:id/log-level',
    operationId: 'set-host-log-level',
    about: "Another level of the log of a host's agent, for a time.",
    who: ['operator'],
    input: 'SetLogLevel',
    output: 'LogLevel',
    handle: async (call) => {
      const set = await readBody(call.request, LogLevelBody);
      const host = hostOf(node, call);
      const [levels] = await node.asks.one(host, { kind: 'log-level', set }, optionsOf(call));
      return json(levels);
    },
  },
];

export const healthRoutes = (node: Node): Route[] => [
  ...logRoutes(node),
  ...levelRoutes(node),
  {
    method: 'POST',
    path: '/v1/doctor',
    operationId: 'examine',
    about: 'What is not well: asks every agent, and sends probes by every tunnel. Takes seconds.',
    who: ['operator'],
    output: 'Findings',
    handle: async ({ request, caller }) => {
      const status = await statusOf(node, caller.token);
      const findings: readonly Finding[] = await examineAll(node, status, request.signal);
      return json({ version: node.version, timeMs: node.wall(), findings });
    },
  },
  {
    method: 'GET',
    path: '/v1/hosts/:id/counters',
    operationId: 'get-host-counters',
    about: 'Everything that a host counts: its metrics, and the counters of its datapath.',
    who: ['operator'],
    output: 'HostCounters',
    handle: async (call) => {
      onlyQuery(call.query, []);
      const ask = { kind: 'counters' } as const;
      const parts = await node.asks.one(hostOf(node, call), ask, optionsOf(call));
      const textOf = (name: string): string =>
        parts
          .filter((part) => part.name === name)
          .map(({ text }) => text)
          .join('');
      return json({ metrics: textOf('metrics'), stats: JSON.parse(textOf('stats')) as unknown });
    },
  },
];
