/**
 * The API's description (OpenAPI 3.1), from the same list of routes that is served and the same
 * table of kinds that validates: nothing here is written twice.
 */
import { z } from 'zod';
import { KIND_NAMES, type Kind } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { AnswerBody, ASKS } from '#client/asks.ts';
import { FindingSchema, HEALTH_ASKS } from '#client/health-asks.ts';
import { LogLevelBody } from './health-routes.ts';
import { BackupBody } from './backup-routes.ts';
import { FlowPageBody, FlowRowBody, WhyBody, WhyPacketBody, WhyPairBody } from './flow-bodies.ts';
import { BalancerStatusBody } from '#client/balance.ts';
import {
  ConnectionPageBody,
  PublicPortsBody,
  RuleCountsBody,
  RuleLogBody,
} from '#client/firewall.ts';
import { DropsBody } from '#client/sight.ts';
import { LocateBody, WantedPortsBody } from './host-routes.ts';
import { ReportBody } from './hosts.ts';
import { LearnBody } from './learned-rows.ts';
import { HealthReportedBody, HealthReportsBody } from './member-routes.ts';
import { PROBLEM_STATUSES } from './problems.ts';
import { RollbackBody } from './rollback.ts';
import { TransactionBody } from './resources.ts';
import type { Route } from './route.ts';
import { IssuedTokenBody } from './system-routes.ts';
import { TokenBody } from './tokens.ts';
import { TraceBody } from './trace.ts';
import { WhatIfBody, WhatIfResultBody } from './what-if-routes.ts';

type Json = { [key: string]: unknown };
interface ObjectSchema extends Json {
  properties: Record<string, Json>;
  required?: string[];
}

/**
 * JSON Schema of one zod schema, without what OpenAPI says once for all. Fields that are turned
 * into text are text.
 */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const document = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === 'transform' && jsonSchema.type === undefined)
        jsonSchema.type = 'string';
    },
  }) as Json;
  const { $schema: _, $defs: definitions, $ref: reference, ...rest } = document;
  if (typeof reference !== 'string') return rest;
  const { id: _id, ...named } =
    (definitions as Record<string, Json>)[reference.split('/').at(-1) ?? ''] ?? {};
  return named;
}

function textOf(schema: Json | undefined): string {
  const text = schema?.['description'];
  return typeof text === 'string' ? text : '';
}

/** An id or a name wherever an object is named. */
function withNames(kind: Kind, properties: Record<string, Json>): Record<string, Json> {
  const out = { ...properties };
  for (const [path, { kind: target }] of Object.entries(kind.references)) {
    const [field = path, inner] = path.split('.');
    const property = out[field];
    if (property === undefined) continue;
    const named = { type: 'string', minLength: 1 };
    const about = (old: Json | undefined): Json => ({
      ...named,
      description: `${textOf(old)} The id or unique name of a ${target}.`.trim(),
    });
    if (inner === undefined) out[field] = about(property);
    else {
      const items = property['items'] as ObjectSchema;
      const inside = { ...items.properties, [inner]: about(items.properties[inner]) };
      out[field] = { ...property, items: { ...items, properties: inside } };
    }
  }
  return out;
}

/** What one kind looks like when stored, created and changed, and a page of it. */
function kindSchemas(kind: Kind): Record<string, Json> {
  const component = kind.schema.meta()?.id ?? kind.name;
  const stored = schemaOf(kind.schema, 'output') as ObjectSchema;
  const input = schemaOf(kind.schema, 'input') as ObjectSchema;
  const given = new Set(['id', ...kind.assigned]);
  const open = Object.entries(input.properties).filter(([field]) => !given.has(field));
  const create = withNames(kind, Object.fromEntries(open));
  const patch = Object.fromEntries(
    Object.entries(create)
      .filter(([field]) => !kind.immutable.includes(field))
      .map(([field, { default: _, ...schema }]) => [field, { anyOf: [schema, { type: 'null' }] }]),
  );
  const revision = { type: 'integer', minimum: 0, description: 'The revision of its last change.' };
  const sometimes = Object.values(kind.variants?.of ?? {}).flat();
  const items = { type: 'array', items: { $ref: `#/components/schemas/${component}` } };
  return {
    [component]: {
      ...stored,
      properties: { ...stored.properties, revision },
      required: (stored.required ?? [])
        .filter((field) => !sometimes.includes(field))
        .concat('revision'),
    },
    [`${component}Page`]: {
      type: 'object',
      properties: { revision, items, next: { type: 'string', description: 'Send as `after`.' } },
      required: ['revision', 'items'],
    },
    ...(kind.writer !== 'host' && {
      [`New${component}`]: {
        ...input,
        properties: create,
        required: (input.required ?? []).filter((field) => !given.has(field)),
      },
      [`${component}Patch`]: {
        type: 'object',
        description: `${textOf(input)} A merge patch (RFC 7396).`.trim(),
        properties: patch,
        additionalProperties: false,
      },
    }),
  };
}

const integer = { type: 'integer' };
const string = { type: 'string' };
const strings = { type: 'array', items: string };
const object = (properties: Record<string, Json>, optional: readonly string[] = []): Json => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});
const arrayOf = (items: Json): Json => ({ type: 'array', items });

const number = { type: 'number' };
const statusSchemas = (): Record<string, Json> => ({
  Status: object(
    {
      version: string,
      revision: integer,
      hosts: {
        type: 'array',
        items: object(
          {
            host: string,
            name: string,
            state: { enum: ['alive', 'dead', 'unknown'] },
            report: { $ref: '#/components/schemas/AgentReport' },
            behindMs: number,
            dropsPerSecond: number,
            aheadMs: number,
          },
          ['report', 'behindMs', 'dropsPerSecond', 'aheadMs'],
        ),
      },
      node: { $ref: '#/components/schemas/NodeStatus' },
    },
    ['node'],
  ),
  NodeStatus: object(
    {
      uptimeMs: number,
      timeMs: integer,
      store: object(
        {
          bytes: integer,
          diskFreeBytes: integer,
          historyFrom: integer,
          commitMs: number,
        },
        ['bytes', 'diskFreeBytes', 'commitMs'],
      ),
      limits: { type: 'array', items: object({ name: string, used: integer, max: integer }) },
      enforcement: object({ count: integer, p50Ms: number, p99Ms: number }),
    },
    ['enforcement'],
  ),
});

function historySchemas(): Record<string, Json> {
  const row = { kind: { enum: [...KIND_NAMES] }, id: string };
  const states = { before: { type: 'object' }, after: { type: 'object' } };
  const optional = ['before', 'after'];
  return {
    Rollback: schemaOf(RollbackBody, 'input'),
    RolledBack: object(
      {
        revision: integer,
        to: integer,
        objects: integer,
        transactions: integer,
        dryRun: { const: true },
        changes: { type: 'array', items: { $ref: '#/components/schemas/ObjectChange' } },
      },
      ['dryRun', 'changes'],
    ),
    Backup: schemaOf(BackupBody, 'input'),
    BackedUp: object({ path: string, bytes: integer }),
    ObjectChange: object(
      { op: { enum: ['create', 'update', 'delete'] }, ...row, ...states },
      optional,
    ),
    HistoryPage: object(
      {
        revision: integer,
        items: { type: 'array', items: { $ref: '#/components/schemas/HistoryEntry' } },
        next: { type: 'integer', description: 'Send as `before`.' },
      },
      ['next'],
    ),
    HistoryEntry: object(
      {
        revision: integer,
        at: { type: 'string', format: 'date-time' },
        by: object({ role: { enum: ['operator', 'tenant', 'host'] }, name: string, id: string }, [
          'id',
        ]),
        request: string,
        rows: { type: 'array', items: object({ ...row, ...states }, optional) },
      },
      ['request'],
    ),
  };
}

const traceObject = object(
  { kind: { enum: ['port', 'bridge', 'router', 'chain'] }, id: string, name: string },
  ['id'],
);
const looks = arrayOf(
  object(
    {
      kind: string,
      text: string,
      field: string,
      value: string,
      before: string,
      after: string,
      routes: arrayOf({ type: 'object' }),
    },
    ['field', 'value', 'before', 'after', 'routes'],
  ),
);

const traceResult = (): Json =>
  object(
    {
      revision: integer,
      lines: strings,
      verdict: { enum: ['forward', 'answer', 'collect', 'drop', 'wait', 'want-ports'] },
      reason: string,
      ports: strings,
      rewritten: string,
      sends: { type: 'array', items: object({ port: string, frame: string, text: string }) },
      fields: strings,
      host: string,
      way: { type: 'array', items: traceObject },
      steps: {
        type: 'array',
        items: object(
          { at: traceObject, did: string, detail: string, text: string, looked: looks },
          ['detail'],
        ),
      },
      looked: looks,
      looksLeftOut: integer,
      flow: object(
        {
          match: { type: 'array', items: object({ field: string, value: string }) },
          actions: { type: 'array', items: object({ do: string, text: string }) },
          none: string,
        },
        ['none'],
      ),
    },
    ['reason', 'rewritten', 'host'],
  );

/** What agents say, and what is asked of them. */
const askSchemas = (): Record<string, Json> => ({
  Locate: schemaOf(LocateBody, 'input'),
  WantedPorts: schemaOf(WantedPortsBody, 'input'),
  AgentReport: schemaOf(ReportBody, 'input'),
  Learn: schemaOf(LearnBody, 'input'),
  HealthReports: schemaOf(HealthReportsBody, 'input'),
  HealthReported: schemaOf(HealthReportedBody, 'output'),
  Answer: schemaOf(AnswerBody, 'input'),
  SetLogLevel: schemaOf(LogLevelBody, 'input'),
  LogLevel: schemaOf(HEALTH_ASKS['log-level'].part, 'output'),
  LogLines: schemaOf(HEALTH_ASKS.logs.part, 'output'),
  Findings: object({
    version: string,
    timeMs: integer,
    findings: {
      type: 'array',
      items: schemaOf(FindingSchema.extend({ host: z.string().optional() }), 'output'),
    },
  }),
  HostCounters: object({ metrics: string, stats: { type: 'object' } }),
  AgentAbout: schemaOf(ASKS.about.part.extend({ host: z.string() }), 'output'),
  FlowRow: schemaOf(FlowRowBody, 'output'),
  FlowPage: schemaOf(FlowPageBody, 'output'),
  WhyPacketRequest: schemaOf(WhyBody, 'input'),
  WhyPacket: schemaOf(WhyPacketBody, 'output'),
  WhyPair: schemaOf(WhyPairBody, 'output'),
  WhatIfRequest: schemaOf(WhatIfBody, 'input'),
  WhatIf: schemaOf(WhatIfResultBody, 'output'),
  ConnectionPage: schemaOf(ConnectionPageBody, 'output'),
  PublicPorts: schemaOf(PublicPortsBody, 'output'),
  RuleCounts: schemaOf(RuleCountsBody, 'output'),
  RuleLog: schemaOf(RuleLogBody, 'output'),
  BalancerStatus: schemaOf(BalancerStatusBody, 'output'),
  Drops: schemaOf(DropsBody, 'output'),
});

const tokenSchemas = (): Record<string, Json> => ({
  Token: schemaOf(TokenBody, 'input'),
  IssuedToken: schemaOf(IssuedTokenBody, 'output'),
  Tokens: object({ items: { type: 'array', items: { $ref: '#/components/schemas/Token' } } }),
  RecordKeys: object({
    epochs: {
      type: 'array',
      items: object({
        epoch: integer,
        keys: { type: 'array', items: object({ host: string, key: string }) },
      }),
    },
  }),
});

const fixedSchemas = (): Record<string, Json> => ({
  Transaction: schemaOf(TransactionBody, 'input'),
  Trace: schemaOf(TraceBody, 'input'),
  Health: object({ serving: { type: 'boolean' }, version: string }),
  ...statusSchemas(),
  Written: object(
    {
      revision: integer,
      objects: { type: 'array', items: { type: ['object', 'null'] } },
      dryRun: { const: true },
      changes: { type: 'array', items: { $ref: '#/components/schemas/ObjectChange' } },
    },
    ['dryRun', 'changes'],
  ),
  ...historySchemas(),
  WaitResult: object({ revision: integer, enforced: strings, behind: strings, away: strings }),
  TraceResult: traceResult(),
  Problem: object(
    {
      type: string,
      title: string,
      status: { enum: PROBLEM_STATUSES },
      detail: string,
      errors: { type: 'array', items: object({ path: string, message: string }) },
    },
    ['detail', 'errors'],
  ),
});

function operationOf(route: Route): Json {
  const parameters = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    description: 'An id; of objects also a unique name.',
    schema: string,
  }));
  const query = (route.query ?? []).map(({ name, about, type }) => ({
    name,
    in: 'query',
    required: false,
    description: about,
    schema: { type },
  }));
  const content = (name: string, type = 'application/json'): Json => ({
    [type]: { schema: { $ref: `#/components/schemas/${name}` } },
  });
  const success = route.method === 'POST' && route.path !== '/v1/trace' ? '2XX' : '200';
  const answer = route.output === undefined ? {} : { content: content(route.output) };
  return {
    operationId: route.operationId,
    summary: route.about,
    parameters: [...parameters, ...query],
    ...(route.input !== undefined && {
      requestBody: { required: true, content: content(route.input) },
    }),
    responses: {
      [route.output === undefined ? '2XX' : success]: { description: 'Done.', ...answer },
      default: { description: 'Refused.', content: content('Problem', 'application/problem+json') },
    },
    security: route.who === 'anyone' ? [] : [{ bearer: [] }],
    'x-roles': route.who,
  };
}

export function openapi(routes: readonly Route[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route) };
  }
  const kinds = KIND_NAMES.map((name) => kindSchemas(kindOf(name)));
  const schemas = Object.assign({}, ...kinds, askSchemas(), tokenSchemas(), fixedSchemas()) as Json;
  return {
    openapi: '3.1.0',
    info: { title: 'MidoNet', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths,
    components: {
      schemas,
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
    },
  };
}
