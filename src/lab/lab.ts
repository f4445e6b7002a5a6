/**
 * A lab: hosts as namespaces on an underlay with a real agent in each, an API node, workloads as
 * namespaces.
 *
 * Order of making: journal, wires, API, hosts, agents, networks. Everything waits for conditions
 * with a deadline, never for time. What is made is what the journal said, so `cleanLab` can always
 * undo it.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createClient } from '#client/client.ts';
import { connect } from '#client/connect.ts';
import type { AgentCounters, Client } from '#client/types.ts';
import { netnsPath } from '#os/netns.ts';
import { startGuests, waitForGuests } from './guest/guest.ts';
import { patient } from '#os/patience.ts';
import { readJournal, writeJournal, type Journal } from './journal.ts';
import { apiListen, apiSocket, apiUrl, API_PART, labDir, netnsOf } from './names.ts';
import { end, find, isAlive, logPath, start, until, type Process } from './processes.ts';
import { workloadsOf, type Recipe } from './recipe.ts';
import { createHosts, createNetworks } from './topology.ts';
import { makeWires } from './wires.ts';

const API_READY_MS = 20_000;
const AGENTS_READY_MS = 40_000;
/** The API takes no longer one. */
const WAIT_MS = Math.min(patient(AGENTS_READY_MS), 60_000);
/** Counters come with the agents' reports, one a second. */
export const REPORT_WAIT_MS = 10_000;

export interface Lab {
  readonly name: string;
  readonly recipe: Recipe;
  readonly namespaces: readonly string[];
  readonly client: Client;
}

const mn = new URL('../mn.ts', import.meta.url).pathname;
const command = (...args: readonly string[]): string[] => [process.execPath, mn, ...args];

/** For experiments: an agent of another tree, with settings for tests. */
export interface AgentChoice {
  /** The root of the tree whose agent it is; this one unless told. */
  readonly root?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const labOf = (journal: Journal): Lab => ({
  name: journal.lab,
  recipe: journal.recipe,
  namespaces: journal.namespaces,
  client: createClient({ fetch: connect(`unix:${apiSocket(journal.lab)}`) }),
});

/** A lab that was made; throws when there is none of that name. */
export function openLab(name: string): Lab {
  const journal = readJournal(name);
  if (journal === undefined) throw new Error(`there is no lab ${name}: ./midonet lab up makes one`);
  return labOf(journal);
}

/**
 * Makes what the journal announced; answers when every port is up. `tell` is called with a line per
 * stage. Without `networks` the workloads are there, but no port of theirs.
 */
export async function makeLab(
  journal: Journal,
  tell: (line: string) => void,
  { networks = true }: { readonly networks?: boolean } = {},
): Promise<Lab> {
  const { recipe } = journal;
  await makeWires(journal);
  tell(`${journal.namespaces.length} namespaces on an underlay`);
  const lab = labOf(journal);
  await startGuests(lab);
  writeTools(lab);
  startApi(lab);
  await waitForApi(lab);
  const ids = await createHosts(lab.client, recipe);
  for (const [host, id] of ids) {
    await writeToken(lab, host, id);
    startAgent(lab, host);
  }
  tell(`an API node at ${apiUrl}; agents on ${recipe.hosts.join(' ')}`);
  if (networks) await createNetworks(lab.client, recipe);
  const revision = await waitForAgents(lab);
  tell(`${Object.keys(recipe.workloads).length} ports up at revision ${revision}`);
  await waitForGuests(lab);
  const guests = workloadsOf(recipe, 'vm').map(([name]) => name);
  if (guests.length > 0) tell(`VMs are up: ${guests.join(' ')}`);
  return lab;
}

/**
 * Writes the journal of a new lab; refuses when one of its namespaces exists already and is
 * therefore not ours.
 */
export function announce(name: string, recipe: Recipe): Journal {
  if (existsSync(labDir(name)))
    throw new Error(`lab ${name} is there already: ./midonet lab clean --lab ${name} removes it`);
  const journal = writeJournal(name, recipe);
  const taken = journal.namespaces.filter((each) => existsSync(netnsPath(each)));
  if (taken.length === 0) return journal;
  rmSync(labDir(name), { recursive: true });
  throw new Error(`namespaces exist that no lab announced: ${taken.join(' ')}: remove them first`);
}

function startApi(lab: Lab): Process {
  const dir = labDir(lab.name);
  const args = ['--data', `${dir}/db`, '--listen', apiListen, '--socket', apiSocket(lab.name)];
  return start({ lab: lab.name, part: API_PART, name: 'api', command: command('api', ...args) });
}

async function waitForApi(lab: Lab): Promise<void> {
  await until('the API answers', API_READY_MS, async () => {
    assertAlive(lab, 'api');
    if (!existsSync(apiSocket(lab.name))) return false;
    return lab.client.status().then(
      () => true,
      () => false,
    );
  });
}

const tokenFile = (lab: Lab, host: string): string => `${labDir(lab.name)}/tokens/${host}`;

async function writeToken(lab: Lab, host: string, id: string): Promise<void> {
  const { secret } = await lab.client.issueToken({ role: 'host', name: `lab-${host}`, host: id });
  mkdirSync(`${labDir(lab.name)}/tokens`, { recursive: true, mode: 0o700 });
  writeFileSync(tokenFile(lab, host), `${secret}\n`, { mode: 0o600 });
}

const agentName = (host: string): string => `agent-${host}`;
export const agentOf = (lab: Lab, host: string): Process | undefined =>
  find(lab.name, agentName(host));

/** Starts the agent of a host; a second one adopts what the first left in the kernel. */
export function startAgent(lab: Lab, host: string, { root, env = {} }: AgentChoice = {}): Process {
  const runDir = `${labDir(lab.name)}/hosts/${host}`;
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  const args = ['--host', host, '--api', apiUrl, '--token-file', tokenFile(lab, host)];
  const program = root === undefined ? mn : `${root}/src/mn.ts`;
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return start({
    lab: lab.name,
    part: host,
    name: agentName(host),
    command: [
      ...(settings.length === 0 ? [] : ['env', ...settings]),
      ...[process.execPath, program, 'agent', ...args, '--run-dir', runDir],
    ],
  });
}

export async function killAgent(lab: Lab, host: string): Promise<void> {
  const agent = agentOf(lab, host);
  if (agent === undefined) throw new Error(`${host} has no agent`);
  await end([agent], false);
}

/**
 * Waits until every agent is alive and carries every port of its host, every port has its location,
 * and all agents know of it.
 */
export async function waitForAgents(lab: Lab): Promise<number> {
  let missing: string[] = [];
  const ready = async (): Promise<boolean> => {
    assertAlive(lab, 'api');
    for (const host of lab.recipe.hosts) assertAlive(lab, agentName(host));
    // An API that lives may still be too busy to answer in time.
    missing = await whatLacks(lab).catch((error: Error) => [error.message]);
    return missing.length === 0;
  };
  await until('all agents carry their ports', AGENTS_READY_MS, ready).catch((error: Error) => {
    throw new Error(`${error.message}: ${missing.join('; ')}${logTails(lab)}`, { cause: error });
  });
  const { revision } = await lab.client.status();
  const { behind } = await lab.client.wait(revision, WAIT_MS);
  if (behind.length === 0) return revision;
  throw new Error(`revision ${revision} is not in force on ${behind.join(' ')}${logTails(lab)}`);
}

/** The workload whose interface a port is bound to has the same name. */
const interfaceOf = (port: object): string =>
  'interface' in port && typeof port.interface === 'string' ? port.interface : '';

/** What keeps the lab from being ready, in words. */
async function whatLacks({ client, recipe }: Lab): Promise<string[]> {
  const { hosts } = await client.status();
  const ports = await client.listAll('port');
  const located = new Set((await client.listAll('location')).map(({ id }) => id));
  return recipe.hosts.flatMap((name) => {
    const status = hosts.find((host) => host.name === name);
    if (status?.state !== 'alive' || status.report === undefined)
      return [`${name} has not reported`];
    const { portsUp, portsDown } = status.report;
    return ports
      .filter((port) => recipe.workloads[interfaceOf(port)]?.host === name)
      .filter(({ id }) => !portsUp.includes(id) || !located.has(id))
      .map(({ id, name: port }) => {
        const why = portsDown.find((each) => each.port === id)?.why ?? 'no word of it yet';
        return `${name} does not carry ${port}: ${why}`;
      });
  });
}

/** Fails early, with the end of its log, when one of the lab's own processes has died. */
function assertAlive(lab: Lab, name: string): void {
  const found = find(lab.name, name);
  if (found !== undefined && isAlive(found)) return;
  throw new Error(`${name} ended by itself:\n${logTail(lab, name)}`);
}

const LOG_LINES = 15;

export function logTail(lab: Lab, name: string): string {
  const path = logPath(lab.name, name);
  if (!existsSync(path)) return `${name} wrote no log`;
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return lines
    .slice(-LOG_LINES)
    .map((line) => `  ${name}: ${line}`)
    .join('\n');
}

/** The ends of all logs, for whoever has to find out why something failed. */
export const logTails = (lab: Lab): string =>
  ['api', ...lab.recipe.hosts.map(agentName)].map((name) => `\n${logTail(lab, name)}`).join('');

/** The counters that a host's agent reported last. */
export async function countersOf(lab: Lab, host: string): Promise<AgentCounters> {
  const { hosts } = await lab.client.status();
  const counters = hosts.find((each) => each.name === host)?.report?.counters;
  if (counters === undefined) throw new Error(`${host} has not reported any counters`);
  return counters;
}

/** Waits until the reported counters of a host satisfy `enough`, and answers them. */
export async function countersWhen(
  lab: Lab,
  host: string,
  enough: (counters: AgentCounters) => boolean,
): Promise<AgentCounters> {
  let last = await countersOf(lab, host);
  await until(`${host} reports`, REPORT_WAIT_MS, async () => {
    last = await countersOf(lab, host);
    return enough(last);
  });
  return last;
}

/** A directory with `mn`, for shells inside the lab, and the settings of these shells. */
function writeTools(lab: Lab): void {
  const dir = `${labDir(lab.name)}/bin`;
  mkdirSync(dir, { recursive: true });
  const words = command().map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  writeFileSync(`${dir}/mn`, `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`, { mode: 0o755 });
  writeFileSync(shellSettings(lab), `PS1='(${lab.name}\${MN_LAB_PART:+ $MN_LAB_PART}) \\w \\$ '\n`);
}

/** What `bash --rcfile` takes. */
export const shellSettings = (lab: Lab): string => `${labDir(lab.name)}/bashrc`;

export const shellEnvironment = (lab: Lab): Record<string, string> => ({
  MN_API: `unix:${apiSocket(lab.name)}`,
  PATH: `${labDir(lab.name)}/bin:${process.env['PATH'] ?? ''}`,
});

export const namespaceOf = (lab: Lab, part: string): string => netnsOf(lab.name, part);
