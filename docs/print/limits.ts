/**
 * The page of limits: every exported constant of the product that ends in MAX, and the two tables
 * of limits, with their comments. A limit without a comment does not get onto it, and a test says
 * so.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LIMITS_TOLD } from '#client/limits.ts';
import { type Constant, constantsOf, fieldsOf } from './docstrings.ts';
import { code, page, table, type PrintedPage } from './table.ts';

const ROOT = join(import.meta.dirname, '../..');
const TESTS = /(\.test|\.arbitrary|\.fixture|\/fixture|\/testing|\/testbed|contract)/;
const NAMES = /_MAX(_MS)?$/;

/** The folders whose limits somebody who runs the network can meet, in the order of the page. */
const LAYERS: readonly (readonly [string, string])[] = [
  ['virtual', 'What may be configured'],
  ['api', 'The API'],
  ['store', 'The store'],
  ['client', 'Clients of the API'],
  ['cli', 'The command line'],
  ['agent', 'The agent'],
  ['flow', 'Flows'],
  ['datapath', 'The datapath'],
  ['net', 'Frames as text and bytes'],
  ['os', 'The system'],
];

export interface Limit extends Constant {
  readonly file: string;
  readonly value: unknown;
}

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const load = async (file: string): Promise<Record<string, unknown>> =>
  (await import(join(ROOT, file))) as Record<string, unknown>;

/** Named limits of a folder of src that are constants of their own. */
export async function limitsOf(folder: string): Promise<Limit[]> {
  const files = globSync(`src/${folder}/**/*.ts`, { cwd: ROOT })
    .filter((file) => !TESTS.test(file))
    .toSorted();
  const limits: Limit[] = [];
  for (const file of files) {
    const constants = constantsOf(read(file), NAMES);
    const values = constants.length === 0 ? {} : await load(file);
    for (const constant of constants)
      limits.push({ ...constant, file, value: values[constant.name] });
  }
  return limits;
}

/** The limits of a table, those without a comment of their own together with the one before. */
async function tableOf(file: string, name: string): Promise<Limit[]> {
  const values = (await load(file))[name] as Record<string, unknown>;
  return fieldsOf(read(file), name).map((field) => ({ ...field, file, value: values[field.name] }));
}

const KIB = 1024;
const number = (value: number): string => value.toLocaleString('en-US');

/** A number with its unit, which is the end of the name. */
function shown(name: string, value: unknown): string {
  if (typeof value === 'object' && value !== null)
    return Object.entries(value)
      .map(([key, inner]) => `${key} ${shown(key, inner)}`)
      .join('; ');
  if (typeof value !== 'number') return String(value);
  if (/bytes/i.test(name) && value >= KIB * KIB && value % KIB === 0)
    return `${number(value / KIB / KIB)} MiB`;
  if (/_MS$|Ms$|_MS_/.test(name)) return value < 1_000 ? `${value} ms` : `${value / 1_000} s`;
  if (value > 0 && value < 1) return `${value * 100} %`;
  return number(value);
}

const row = ({ name, about, value }: Limit): string[] => [code(name), shown(name, value), about];

/** Rows of a table of limits: neighbours that share a comment are one. */
function rowsOf(limits: readonly Limit[]): string[][] {
  const rows: string[][] = [];
  for (const limit of limits) {
    const last = rows.at(-1);
    if (limit.about !== '' || last === undefined) rows.push(row(limit));
    else {
      last[0] += `, ${code(limit.name)}`;
      last[1] += `, ${shown(limit.name, limit.value)}`;
    }
  }
  return rows;
}

/** Limits that programs tell of while they run: how full they are is seen from outside. */
const watchedTable = (): string =>
  table(
    ['Limit', 'Of', 'What it is', 'When it is full', 'What to do before'],
    Object.entries(LIMITS_TOLD).map(([name, { of, about, full, remedy }]) => [
      code(name),
      of === 'api' ? 'the API' : 'an agent',
      about,
      full,
      remedy,
    ]),
  );

const TITLES = ['Limit', 'Value', 'Of what, and what happens'];

export async function limitsPage(): Promise<PrintedPage> {
  const parts: string[] = [];
  for (const [folder, title] of LAYERS) {
    const limits = await limitsOf(folder);
    const rows = limits.map(row);
    if (folder === 'agent') rows.push(...rowsOf(await tableOf('src/agent/limits.ts', 'LIMITS')));
    if (folder === 'flow') rows.push(...rowsOf(await tableOf('src/flow/layout.ts', 'LIMITS')));
    if (rows.length > 0) parts.push(`## ${title}`, table(TITLES, rows));
  }
  const intro =
    'Every queue, table, cache and wait has a limit with a name. This page is printed from the ' +
    'sources: the names are those of the constants, the words those beside them. What a port may ' +
    'take of a host, and what happens beyond, is said with more words in ' +
    '[limits, counters, fairness](../guide/limits-and-counters.md); how far a cluster goes, in ' +
    '[sizes](../operations/sizes.md).';
  const watched = [
    '## Limits that are watched',
    '`mn status` shows those that are more than 80 % full; the metrics `mn_api_limit_used` and ' +
      '`mn_agent_limit_used` all of them.',
    watchedTable(),
  ];
  return { name: 'limits.md', text: page('Limits', [intro, ...watched, ...parts]) };
}
