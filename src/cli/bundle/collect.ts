/**
 * What goes into a support bundle: a list of files, each asked for by itself, so that what cannot
 * be had is a line of the manifest and not the end of the bundle. Every file is bounded.
 */
import type { Client } from '#client/types.ts';
import { LIMITS_TOLD } from '#client/limits.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { examine } from '../commands/doctor.ts';
import type { CliIo } from '../io.ts';

/** Characters of one file; of the rest only how much there was is told. */
export const FILE_CHARACTERS_MAX = 8 * 1024 * 1024;
/** Hosts whose logs and counters are asked for; the others are in the status. */
export const HOSTS_MAX = 100;
const LOG_LINES = 2_000;
/** The last changes. */
const HISTORY_ENTRIES = 200;

export interface Source {
  readonly name: string;
  load(): Promise<string>;
}
export interface Collected {
  readonly name: string;
  readonly text: string;
  /** What was left out, or why there is nothing. */
  readonly note?: string;
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

async function topology(client: Client): Promise<Record<string, unknown>> {
  const kinds: Record<string, unknown> = {};
  for (const kind of KIND_NAMES) kinds[kind] = await client.listAll(kind);
  return kinds;
}

/** A host's name as part of a file's; numbered, because different names may look alike. */
const folderOf = (name: string, i: number): string =>
  `hosts/${i + 1}-${name.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 40)}`;

function ofHost(client: Client, host: { readonly name: string; readonly id: string }, i: number) {
  const folder = folderOf(host.name, i);
  const counters = client.hostCounters(host.id);
  counters.catch(() => {});
  return [
    { name: `${folder}/stats.json`, load: async () => json((await counters).stats) },
    { name: `${folder}/metrics.txt`, load: async () => (await counters).metrics },
    {
      name: `${folder}/logs.jsonl`,
      load: async () => linesOf((await client.logs(host.id, { limit: LOG_LINES })).lines),
    },
  ] satisfies Source[];
}
const linesOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

/** Everything that is asked for. Throws where the API cannot even say who there is. */
export async function sourcesOf(io: CliIo): Promise<Source[]> {
  const { client } = io;
  const status = await client.status();
  const hosts = status.hosts
    .toSorted((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
    .slice(0, HOSTS_MAX)
    .map(({ host, name }) => ({ id: host, name }));
  return [
    { name: 'status.json', load: async () => json(status) },
    { name: 'doctor.json', load: async () => json((await examine(io)).findings) },
    { name: 'topology.json', load: async () => json(await topology(client)) },
    {
      name: 'history.json',
      load: async () => json((await client.history({ all: true, limit: HISTORY_ENTRIES })).items),
    },
    { name: 'limits.json', load: async () => json(LIMITS_TOLD) },
    { name: 'versions.json', load: async () => json(versionsOf(io, status)) },
    {
      name: 'api/logs.jsonl',
      load: async () => linesOf((await client.logs(undefined, { limit: LOG_LINES })).lines),
    },
    { name: 'api/metrics.txt', load: () => client.metrics() },
    ...hosts.flatMap((host, i) => ofHost(client, host, i)),
  ];
}

const versionsOf = (io: CliIo, status: Awaited<ReturnType<Client['status']>>): unknown => ({
  mn: io.version ?? 'unknown',
  api: status.version,
  agents: status.hosts.map(({ name, report }) => ({
    host: name,
    version: report?.version,
    kernel: report?.machine?.kernel,
  })),
});

/** Asks for everything, one after the other. */
export async function collect(sources: readonly Source[]): Promise<Collected[]> {
  const collected: Collected[] = [];
  for (const { name, load } of sources) {
    try {
      const text = await load();
      const cut = text.length - FILE_CHARACTERS_MAX;
      collected.push(
        cut > 0
          ? { name, text: text.slice(0, -cut), note: `${cut} characters more were left out` }
          : { name, text },
      );
    } catch (error) {
      const note = error instanceof Error ? error.message : String(error);
      collected.push({ name, text: '', note });
    }
  }
  return collected;
}
