/**
 * A scenario: Markdown whose `lab` block says which hosts and workloads there are and whose
 * `console` blocks hold commands and exactly what they must print. The same file runs in the world
 * (one process, reference datapath) and in the lab (namespaces, the kernel), and is a page of the
 * guide.
 *
 * Commands: `mn …` (the operator's), `ping FROM ADDRESS`, `send FROM "FRAME"`, `link WORKLOAD
 * up|down`,
 * `agent HOST stop|start|kill`. What a command prints must not hold times or ids.
 */
import { describeFrame, parseFrameText } from '#net/text.ts';
import { parseMac, type Mac } from '#net/mac.ts';

export interface WorkloadSpec {
  readonly name: string;
  readonly host: string;
  readonly mac: string;
  /** With prefix lengths. */
  readonly addresses: readonly string[];
}
export interface ScenarioStep {
  readonly command: string;
  readonly expected: readonly string[];
  /** Index of the line of the command in the file, from 0. */
  readonly line: number;
}
export interface Scenario {
  readonly title: string;
  readonly hosts: readonly string[];
  readonly workloads: readonly WorkloadSpec[];
  readonly steps: readonly ScenarioStep[];
  readonly lines: readonly string[];
}

/** Where a scenario plays. Every call returns when its effects are in force. */
export interface Stage extends AsyncDisposable {
  /** One operator's command without the leading `mn`; what it printed, both streams. */
  mn(args: readonly string[]): Promise<string>;
  /** Whether an echo request, resolved by ARP or ND first, was answered. */
  ping(from: string, address: string): Promise<boolean>;
  /**
   * Sends one frame from a workload and answers which workloads saw exactly it. `expected`: how
   * many should; a stage on real wires waits for so many, then a little longer for those that
   * should not have come.
   */
  send(from: string, frame: Uint8Array, expected: number): Promise<readonly string[]>;
  link(workload: string, up: boolean): Promise<void>;
  agent(host: string, action: 'stop' | 'start' | 'kill'): Promise<void>;
}

export function parseScenario(text: string): Scenario {
  const lines = text.split('\n');
  const hosts: string[] = [];
  const workloads: WorkloadSpec[] = [];
  const steps: { command: string; expected: string[]; line: number }[] = [];
  let block = '';
  for (const [i, line] of lines.entries()) {
    const fence = /^```(\w*)/.exec(line);
    if (fence) block = block === '' ? fence[1] || 'text' : '';
    else if (block === 'lab') readSetting(line, hosts, workloads);
    else if (block === 'console' && line.startsWith('$ '))
      steps.push({ command: line.slice(2), expected: [], line: i });
    else if (block === 'console' && line.trim() !== '') steps.at(-1)?.expected.push(line);
  }
  return { title: lines[0]?.replace(/^#+ */, '') ?? '', hosts, workloads, steps, lines };
}

function readSetting(line: string, hosts: string[], workloads: WorkloadSpec[]): void {
  const [word, ...rest] = line.trim().split(/\s+/);
  if (word === 'hosts') hosts.push(...rest);
  else if (word === 'workload') {
    const [name = '', host = '', mac = '', ...addresses] = rest;
    if (!hosts.includes(host))
      throw new Error(`scenario: workload ${name} is on unknown host ${host}`);
    workloads.push({ name, host, mac, addresses });
  } else if (word) throw new Error(`scenario: unknown setting ${word}`);
}

/** Splits a command line at spaces; double quotes keep words together. */
export const words = (command: string): string[] =>
  [...command.matchAll(/"([^"]*)"|(\S+)/g)].map((m) => m[1] ?? m[2] ?? '');

/** Runs one command on a stage; what it printed, as lines. */
export async function perform(
  stage: Stage,
  scenario: Scenario,
  step: ScenarioStep,
): Promise<string[]> {
  const [program = '', ...args] = words(step.command);
  const spec = (name = ''): WorkloadSpec => {
    const found = scenario.workloads.find((w) => w.name === name);
    if (!found) throw new Error(`scenario: there is no workload ${name}`);
    return found;
  };
  switch (program) {
    case 'mn':
      return printed(await stage.mn(args));
    case 'ping':
      return [(await stage.ping(spec(args[0]).name, args[1] ?? '')) ? 'reply' : 'no reply'];
    case 'send': {
      const from = spec(args[0]);
      const frame = parseFrameText(args[1] ?? '', { src: parseMac(from.mac) as Mac });
      if (!(frame instanceof Uint8Array)) throw new Error(`scenario: ${frame.error}`);
      const expected = step.expected.filter((line) => line.includes(' gets ')).length;
      const got = await stage.send(from.name, frame, expected);
      if (got.length === 0) return ['nobody gets it'];
      return got.toSorted().map((name) => `${name} gets ${describeFrame(frame)}`);
    }
    case 'link':
      await stage.link(spec(args[0]).name, args[1] === 'up');
      return [];
    case 'agent':
      await stage.agent(args[0] ?? '', args[1] as 'stop' | 'start' | 'kill');
      return [];
    default:
      throw new Error(`scenario: unknown command ${program}`);
  }
}

const printed = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trimEnd().replace(/ at revision \d+/, ''))
    .filter((line) => line !== '');

/** A step whose output differs from what the file says. */
export class ScenarioMismatch extends Error {
  override name = 'ScenarioMismatch';
}

/** Runs all steps; throws ScenarioMismatch at the first that prints something else. */
export async function runScenario(stage: Stage, scenario: Scenario): Promise<void> {
  for (const step of scenario.steps) {
    const actual = await perform(stage, scenario, step);
    if (actual.join('\n') === step.expected.join('\n')) continue;
    const show = (lines: readonly string[]) =>
      lines.map((line) => `    ${line}`).join('\n') || '    (nothing)';
    throw new ScenarioMismatch(
      `${scenario.title}, line ${step.line + 1}: $ ${step.command}\n  expected\n${show(step.expected)}\n  actual\n${show(actual)}`,
    );
  }
}

/** The file's text with every step's output replaced by what it prints now. */
export async function rewriteScenario(stage: Stage, scenario: Scenario): Promise<string> {
  const out: string[] = [];
  let next = 0;
  for (const step of scenario.steps) {
    out.push(
      ...scenario.lines.slice(next, step.line + 1),
      ...(await perform(stage, scenario, step)),
    );
    next = step.line + 1 + step.expected.length;
  }
  return [...out, ...scenario.lines.slice(next)].join('\n');
}
