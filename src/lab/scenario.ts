/**
 * A scenario: Markdown whose `lab` block says which hosts and workloads there are and whose
 * `console` blocks hold commands and exactly what they must print. The same file runs in the world
 * (one process, reference datapath) and in the lab (namespaces, the kernel), and is a page of the
 * guide.
 *
 * The lab block: `hosts NAME…`, `underlay ipv4|ipv6 [mtu BYTES]`,
 * `workload NAME HOST MAC ADDR… [mtu BYTES] [via GATEWAY…]`; addresses with their lengths, a
 * gateway for each family. A block that opens with a language and a name (`file net.yaml`,
 * `yaml net.yaml`) is a file that commands below it can name. Lines of a console block that start
 * with `# ` are not played: root's own, in a shell. The commands are those of
 * `scenario-commands.ts`.
 */
import { perform, type Stage } from './scenario-commands.ts';
import { ScenarioFiles } from './scenario-files.ts';

export interface WorkloadSpec {
  readonly name: string;
  readonly host: string;
  readonly mac: string;
  /** With prefix lengths. */
  readonly addresses: readonly string[];
  /** Bytes of the largest packet of its interface; 1500 unless told. */
  readonly mtu?: number | undefined;
  /** Default routers, at most one of each family. */
  readonly via?: readonly string[];
}
/** The network between hosts. `mtu` undefined: room for packets of 1500 bytes in the tunnel. */
export interface Underlay {
  readonly family: 'ipv4' | 'ipv6';
  readonly mtu: number | undefined;
}
export interface ScenarioStep {
  readonly command: string;
  readonly expected: readonly string[];
  /** Index of the line of the command in the file, from 0. */
  readonly line: number;
  /** Of the line behind what it prints, which may have empty lines in it. */
  readonly end: number;
  /** Of the file blocks between the last command and this one: to be written before it runs. */
  readonly files: Readonly<Record<string, string>>;
}
export interface Scenario {
  readonly title: string;
  readonly hosts: readonly string[];
  readonly underlay: Underlay;
  readonly workloads: readonly WorkloadSpec[];
  readonly steps: readonly ScenarioStep[];
  readonly lines: readonly string[];
}

export function parseScenario(text: string): Scenario {
  const lines = text.split('\n');
  const settings: Settings = {
    hosts: [],
    workloads: [],
    underlay: { family: 'ipv4', mtu: undefined },
  };
  const steps: (ScenarioStep & { readonly expected: string[]; end: number })[] = [];
  /** Of the file blocks since the last command. */
  let files: Record<string, string> = {};
  let block = '';
  let file: string | undefined;
  let played = false;
  for (const [i, line] of lines.entries()) {
    const fence = /^```(\w*) *([\w.-]*)/.exec(line);
    if (fence) {
      const [, language = '', name = ''] = fence;
      block = block === '' ? language || 'text' : '';
      file = block !== '' && name !== '' ? name : undefined;
      played = false;
      if (file !== undefined) files[file] = '';
    } else if (file !== undefined) files[file] += `${line}\n`;
    else if (block === 'lab') readSetting(line, settings);
    else if (block !== 'console') continue;
    else if (line.startsWith('$ ')) {
      steps.push({ command: line.slice(2), expected: [], line: i, end: i + 1, files });
      files = {};
      played = true;
    } else if (line.startsWith('# ')) played = false;
    else if (played && line.trim() !== '') {
      const step = steps.at(-1);
      step?.expected.push(line);
      if (step !== undefined) step.end = i + 1;
    }
  }
  return { title: lines[0]?.replace(/^#+ */, '') ?? '', ...settings, steps, lines };
}

interface Settings {
  readonly hosts: string[];
  readonly workloads: WorkloadSpec[];
  underlay: Underlay;
}

/** The number behind a word, which goes with it; undefined where the word is not. */
function takeNumber(words: string[], word: string): number | undefined {
  const at = words.indexOf(word);
  if (at < 0) return undefined;
  const value = Number(words.splice(at, 2)[1]);
  if (!Number.isInteger(value)) throw new Error(`scenario: ${word} NUMBER`);
  return value;
}

function readSetting(line: string, settings: Settings): void {
  const [word, ...rest] = line.trim().split(/\s+/);
  if (word === 'hosts') settings.hosts.push(...rest);
  else if (word === 'underlay') {
    const [family = '', ...more] = rest;
    if (family !== 'ipv4' && family !== 'ipv6')
      throw new Error(`scenario: the underlay is ipv4 or ipv6, not ${family}`);
    settings.underlay = { family, mtu: takeNumber(more, 'mtu') };
  } else if (word === 'workload') {
    const [name = '', host = '', mac = '', ...more] = rest;
    if (!settings.hosts.includes(host))
      throw new Error(`scenario: workload ${name} is on unknown host ${host}`);
    const mtu = takeNumber(more, 'mtu');
    const at = more.indexOf('via');
    const addresses = at < 0 ? more : more.slice(0, at);
    const via = at < 0 ? [] : more.slice(at + 1);
    settings.workloads.push({ name, host, mac, addresses, mtu, via });
  } else if (word) throw new Error(`scenario: unknown setting ${word}`);
}

/** Ids are made anew in every run: any will do where the page shows one. */
const UUID = /\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g;
const isShown = (actual: readonly string[], expected: readonly string[]): boolean =>
  actual.join('\n').replaceAll(UUID, 'ID') === expected.join('\n').replaceAll(UUID, 'ID');

/** A step whose output differs from what the file says. */
export class ScenarioMismatch extends Error {
  override name = 'ScenarioMismatch';
}

/** Runs all steps; throws ScenarioMismatch at the first that prints something else. */
export async function runScenario(stage: Stage, scenario: Scenario): Promise<void> {
  using files = new ScenarioFiles();
  for (const step of scenario.steps) {
    const actual = await perform({ stage, scenario, files }, step);
    if (isShown(actual, step.expected)) continue;
    const show = (lines: readonly string[]) =>
      lines.map((line) => `    ${line}`).join('\n') || '    (nothing)';
    throw new ScenarioMismatch(
      `${scenario.title}, line ${step.line + 1}: $ ${step.command}\n  expected\n${show(step.expected)}\n  actual\n${show(actual)}`,
    );
  }
}

/** The file's text with every step's output replaced by what it prints now. */
export async function rewriteScenario(stage: Stage, scenario: Scenario): Promise<string> {
  using files = new ScenarioFiles();
  const out: string[] = [];
  let next = 0;
  for (const step of scenario.steps) {
    const actual = await perform({ stage, scenario, files }, step);
    const stays = isShown(actual, step.expected);
    out.push(...scenario.lines.slice(next, stays ? step.end : step.line + 1));
    if (!stays) out.push(...actual);
    next = step.end;
  }
  return [...out, ...scenario.lines.slice(next)].join('\n');
}
