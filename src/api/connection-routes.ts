/**
 * `/v1/connections`: the connections that hosts know, asked of the agents that have them.
 *
 * Invariants: a connection is one row, however many hosts have a record of it; a tenant is told of
 * those that entered or left at its ports, and of what is on its side of them only: of one that it
 * did not open, the addresses are those that its own end sees.
 */
import {
  CONNECTIONS_PER_ASK_MAX,
  type ConnectionPage,
  type ConnectionPart,
  type ConnectionRow,
  type PublicPorts,
  type PublicPortsRow,
} from '#client/firewall.ts';
import type { PortId } from '#virtual/ids.ts';
import { type Reader, readerOf, titleOf } from './flow-rows.ts';
import { askHosts, hostWord, pageOf } from './host-pages.ts';
import type { Node } from './node.ts';
import { type Call, json, NOT_HOSTS, onlyQuery, type Route } from './route.ts';

function connectionRow(
  host: string,
  part: ConnectionPart,
  { topology, sees, operator }: Reader,
  ofOnePort: boolean,
): ConnectionRow | undefined {
  const { forward, returned, inPort, outPort, phase, ageMs, idleMs, leftMs } = part;
  const seen = (id: string | undefined): string | undefined => {
    const port = id === undefined ? undefined : topology.get('port', id);
    return port !== undefined && sees('port', port) ? port.id : undefined;
  };
  const [opener, other] = [seen(inPort), seen(outPort)];
  if (!operator && opener === undefined && other === undefined) return undefined;
  // The host of whoever opened it is asked too, and tells of it.
  const at = opener === undefined ? host : topology.location(opener as PortId)?.host;
  if (at !== host && !ofOnePort) return undefined;
  // Whoever has the other end only sees what reaches it.
  const text = operator || opener !== undefined ? forward : returned;
  const [protocol = '', from = '', to = ''] = /^(.+) (\S+) > (\S+)$/.exec(text)?.slice(1) ?? [];
  const changed = forward !== returned && (operator || opener !== undefined);
  const as = changed ? / (\S+ > \S+)$/.exec(returned)?.[1] : undefined;
  const hostName = topology.get('host', host)?.name;
  const title = (id: string): string => titleOf(topology, 'port', id);
  const place = operator ? titleOf(topology, 'host', host) : title(opener ?? other ?? '');
  return {
    id: `${place}:${part.slot}.${part.generation}`,
    ...(operator && { host, ...(hostName !== undefined && { hostName }) }),
    protocol,
    from,
    to,
    ...(as !== undefined && { as }),
    ...(opener !== undefined && { fromPort: title(opener) }),
    ...(other !== undefined && { toPort: title(other) }),
    phase,
    ageMs,
    idleMs,
    leftMs,
  };
}

async function listConnections(node: Node, call: Call): Promise<ConnectionPage> {
  onlyQuery(call.query, ['host', 'port', 'limit', 'after']);
  const reader = readerOf(call.caller.token, node.replica.topology);
  return pageOf(node, call, reader, {
    most: CONNECTIONS_PER_ASK_MAX,
    ask: (of) => ({ kind: 'connections' as const, ...of }),
    rowOf: (host, part) => connectionRow(host, part, reader, call.query.get('port') !== null),
  });
}

/** Every host is asked: what it owns is in the topology, what it uses only it knows. */
async function listPublicPorts(node: Node, call: Call): Promise<PublicPorts> {
  const reader = readerOf(call.caller.token, node.replica.topology);
  const { topology } = reader;
  const ask = { kind: 'public-ports' } as const;
  const hosts = [...topology.list('host')].map(({ id }) => ({ host: id, ask }));
  const answers = await askHosts(node, call, hosts);
  const missing = answers.flatMap(({ host, why }) =>
    why === undefined ? [] : [{ host: hostWord(reader, host), why }],
  );
  const rows = answers.flatMap(({ host, parts }) =>
    parts.map((part): PublicPortsRow => {
      const routerName = topology.get('router', part.router)?.name;
      const hostName = topology.get('host', host)?.name;
      return {
        ...part,
        ...(routerName !== undefined && { routerName }),
        host,
        ...(hostName !== undefined && { hostName }),
      };
    }),
  );
  const order = ({ routerName = '', router, address, hostName = '' }: PublicPortsRow): string =>
    [routerName, router, address, hostName].join(' ');
  rows.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  return { rows, missing };
}

export const connectionRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/connections',
    operationId: 'list-connections',
    about: 'Connections that hosts know; of tenants those of their ports.',
    who: NOT_HOSTS,
    output: 'ConnectionPage',
    query: [
      { name: 'host', about: 'Only what this host tells of; operators only.', type: 'string' },
      { name: 'port', about: 'Only those that entered or left at this port.', type: 'string' },
      {
        name: 'limit',
        about: `Rows of a page, up to ${CONNECTIONS_PER_ASK_MAX}.`,
        type: 'integer',
      },
      { name: 'after', about: 'The `next` of the page before.', type: 'string' },
    ],
    handle: async (call) => json(await listConnections(node, call)),
  },
  {
    method: 'GET',
    path: '/v1/public-ports',
    operationId: 'list-public-ports',
    about: 'Which hosts own which public ports, and how many connections have one.',
    who: ['operator'],
    output: 'PublicPorts',
    handle: async (call) => json(await listPublicPorts(node, call)),
  },
];
