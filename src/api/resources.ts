/**
 * The routes of every kind, from the table of kinds, and of whole transactions. What a write means
 * is decided by `plan`; here is only how it is said over HTTP.
 */
import { z } from 'zod';
import type { Operation, Written } from '#client/types.ts';
import { KIND_NAMES, type Kind, type KindName } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { TRANSACTION_ROWS_MAX } from '#virtual/plan.ts';
import { commit, DRY_RUN, dryRun, isDryRun, sweep } from './commit.ts';
import { topologyOf } from './history-routes.ts';
import { find, list, PAGE_LIMIT, PAGE_LIMIT_MAX, sightOf, sortedOf } from './lists.ts';
import type { Node } from './node.ts';
import { operationsBody } from './operation-body.ts';
import {
  EVERY_ROLE,
  ifRevisionOf,
  integerOf,
  json,
  NOT_HOSTS,
  onlyQuery,
  readBody,
  readObject,
} from './route.ts';
import type { Call, Role, Route } from './route.ts';

export const TransactionBody = z
  .strictObject({
    operations: operationsBody(TRANSACTION_ROWS_MAX),
  })
  .meta({ id: 'Transaction', description: 'Operations that happen together or not at all.' });

const wrote = (written: Written, status = 200): Response =>
  json(written, { 'x-revision': String(written.revision) }, status);
const withIf = (request: Request): { ifRevision?: number } => {
  const revision = ifRevisionOf(request);
  return revision === undefined ? {} : { ifRevision: revision };
};

const writersOf = ({ writer }: Kind): readonly Role[] =>
  writer === 'operator' ? ['operator'] : writer === 'tenant' ? NOT_HOSTS : [];

const AT = {
  name: 'at',
  about: 'As it was at this revision, if that is still kept.',
  type: 'integer',
} as const;

function readRoutes(node: Node, name: KindName): Route[] {
  const { path, schema, about } = kindOf(name);
  const { topology } = node.replica;
  const listQuery = [
    {
      name: 'limit',
      about: `At most so many (${PAGE_LIMIT}, up to ${PAGE_LIMIT_MAX}).`,
      type: 'integer',
    },
    AT,
    { name: 'after', about: 'The `next` of the page before.', type: 'string' },
    ...Object.keys(schema.shape).map((field) => ({
      name: field,
      about: `Only those whose ${field} is this.`,
      type: 'string' as const,
    })),
  ] as const;
  const component = schema.meta()?.id ?? name;
  /** The topology that a read is of, and its objects in the order of pages. */
  const source = async (query: URLSearchParams) => {
    const at = integerOf(query, AT.name, undefined);
    if (at === undefined) return { topology, sorted: node.sorted };
    const old = await topologyOf(node, at, AT.name);
    return { topology: old, sorted: sortedOf(old) };
  };
  const listRoute: Route = {
    method: 'GET',
    path: `/v1/${path}`,
    operationId: `list-${path}`,
    about: `Lists: ${about}`,
    who: EVERY_ROLE,
    output: `${component}Page`,
    query: listQuery,
    handle: async ({ query, caller }) => {
      const from = await source(query);
      const sees = sightOf(caller.token, from.topology);
      const page = list({ ...from, kind: name, query, sees });
      return json(page, { 'x-revision': String(page.revision) });
    },
  };
  const getRoute: Route = {
    method: 'GET',
    path: `/v1/${path}/:id`,
    operationId: `get-${name}`,
    about: `Shows one: ${about}`,
    who: EVERY_ROLE,
    output: component,
    query: [AT],
    handle: async ({ params, caller, query }) => {
      onlyQuery(query, [AT.name]);
      const from = await source(query);
      const sees = sightOf(caller.token, from.topology);
      const object = find(from.topology, name, params['id'] ?? '', sees);
      const revision = String(from.topology.revision);
      return json(object, { etag: `"${object.revision}"`, 'x-revision': revision });
    },
  };
  return [listRoute, getRoute];
}

function writeRoutes(node: Node, name: KindName): Route[] {
  const row = kindOf(name);
  const who = writersOf(row);
  if (who.length === 0) return [];
  const component = row.schema.meta()?.id ?? name;
  const common = { who, output: 'Written', query: [DRY_RUN] } as const;
  const one = `/v1/${row.path}/:id`;
  const run = async (call: Call, operation: Operation, status = 200): Promise<Response> =>
    isDryRun(call)
      ? wrote(dryRun(node, call, [operation]))
      : wrote(await commit(node, call, [operation]), status);
  return [
    {
      ...common,
      method: 'POST',
      path: `/v1/${row.path}`,
      operationId: `create-${name}`,
      about: `Creates one: ${row.about}`,
      input: `New${component}`,
      handle: async (call) =>
        run(call, { op: 'create', kind: name, body: await readObject(call.request) }, 201),
    },
    {
      ...common,
      method: 'PATCH',
      path: one,
      operationId: `update-${name}`,
      about: `Changes one (RFC 7396; If-Match: "REVISION"): ${row.about}`,
      input: `${component}Patch`,
      handle: async (call) => {
        const condition = withIf(call.request);
        const fields = await readObject(call.request);
        const target = { kind: name, id: call.params['id'] ?? '' };
        return run(call, { op: 'update', ...target, body: fields, ...condition });
      },
    },
    {
      ...common,
      method: 'DELETE',
      path: one,
      operationId: `delete-${name}`,
      about: `Deletes one (If-Match: "REVISION"): ${row.about}`,
      handle: async (call) => {
        const condition = withIf(call.request);
        const id = call.params['id'] ?? '';
        if (!isDryRun(call)) await sweep(node, call, { kind: name, id, ...condition });
        return run(call, { op: 'delete', kind: name, id, ...condition });
      },
    },
  ];
}

export const resourceRoutes = (node: Node): Route[] => [
  ...KIND_NAMES.flatMap((name) => [...readRoutes(node, name), ...writeRoutes(node, name)]),
  {
    method: 'POST',
    path: '/v1/transactions',
    operationId: 'transact',
    about: 'Several operations that happen together or not at all.',
    who: EVERY_ROLE,
    input: 'Transaction',
    output: 'Written',
    query: [DRY_RUN],
    handle: async (call) => {
      const body = await readBody(call.request, TransactionBody);
      const operations = body.operations as readonly Operation[];
      if (isDryRun(call)) return wrote(dryRun(node, call, operations));
      return wrote(await commit(node, call, operations));
    },
  },
];
