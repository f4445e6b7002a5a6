/**
 * The commands of a scenario, and the stage they play on.
 *
 *   mn … [> FILE]                          the operator's own; a code that is not 0: `(exit CODE)`
 *   cat FILE                               what a file block, or a command, left in a file
 *   ping FROM ADDRESS [size BYTES] [df]    an echo request; `df`: it must not be cut on the way
 *   traceroute FROM ADDRESS                a line for each router on the way, the last the target
 *   arping FROM ADDRESS                    the MAC that its neighbours say has the address
 *   send FROM "FRAME" [cut MTU]            who gets the frame, and what became of it on the way;
 *                                          `cut`: it is sent as fragments for such an MTU
 *   ask FROM "FRAME"                       whether the sender hears from whom it asked
 *   announce FROM ADDRESS                  the workload takes the address on, and tells everybody
 *   release FROM ADDRESS                   it gives the address up, and tells nobody
 *   move WORKLOAD HOST                     its interface is on another host now
 *   link WORKLOAD up|down                  its interface goes, or is there again
 *   agent HOST stop|start|kill
 *
 * What a command prints must not hold times or ids: it is the same on every stage, every time.
 */
import { fragments } from '#net/fragment.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { describeFrame, parseFrameText } from '#net/text.ts';
import { tooLong, type PingOutcome } from './outcomes.ts';
import type { ScenarioFiles } from './scenario-files.ts';
import type { Scenario, ScenarioStep, WorkloadSpec } from './scenario.ts';

export interface PingRequest {
  readonly address: string;
  /** Data bytes, as ping(8) counts them: less than the packet by 28 over IPv4, by 48 over IPv6. */
  readonly size?: number;
  /** It must not be cut on the way; without, it may be, by its sender too. */
  readonly df: boolean;
}

/** A frame, and how it is put on the wire: whole, or as its fragments. */
export interface Sent {
  readonly frame: Uint8Array;
  readonly parts: readonly Uint8Array[];
}

/** A frame that a workload got, and that is the one sent, however it was rewritten on the way. */
export interface Delivery {
  readonly workload: string;
  readonly frame: Uint8Array;
}

/** What an operator's command printed, and its exit code. */
export interface Ran {
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

/** What a step should print, for a stage on real wires to know how long to wait. */
export type Expected = readonly string[];

/** What `ping`, `arping` and `ask` print in vain, and `send`. */
export const NO_REPLY = 'no reply';
export const NOBODY = 'nobody gets it';

/** Where a scenario plays. Every call returns when its effects are in force. */
export interface Stage extends AsyncDisposable {
  /** One operator's command without the leading `mn`. */
  mn(args: readonly string[]): Promise<Ran>;
  /** What became of an echo request, the next hop resolved by ARP or ND first. */
  ping(from: string, request: PingRequest, expected: Expected): Promise<PingOutcome>;
  /** One word for each hop, see `outcomes.ts`; ends with the target, an error, or in silence. */
  traceroute(from: string, address: string, expected: Expected): Promise<readonly string[]>;
  /** Undefined: nobody answers. */
  arping(from: string, address: string): Promise<string | undefined>;
  /**
   * Sends one frame from a workload, in its parts, and answers every copy of it that a workload
   * saw, by the workload's name, then in the order of arrival.
   */
  send(from: string, sent: Sent, expected: Expected): Promise<readonly Delivery[]>;
  /** Sends one TCP or UDP frame and answers whether its sender gets one back. */
  ask(from: string, frame: Uint8Array, expected: Expected): Promise<boolean>;
  announce(workload: string, address: string): Promise<void>;
  release(workload: string, address: string): Promise<void>;
  move(workload: string, host: string): Promise<void>;
  link(workload: string, up: boolean): Promise<void>;
  agent(host: string, action: 'stop' | 'start' | 'kill'): Promise<void>;
}

/** Splits a command line at spaces; double quotes keep words together. */
export const words = (command: string): string[] =>
  [...command.matchAll(/"([^"]*)"|(\S+)/g)].map((m) => m[1] ?? m[2] ?? '');

const printed = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trimEnd().replace(/ at revision \d+/, ''))
    .filter((line) => line !== '');

function describePing(outcome: PingOutcome): string {
  if (outcome.kind === 'error') return `error from ${outcome.from}: ${outcome.what}`;
  if (outcome.kind === 'too-long') return tooLong(outcome.mtu);
  return outcome.kind === 'reply' ? 'reply' : NO_REPLY;
}

function readPing(args: readonly string[]): PingRequest {
  const [address = '', ...options] = args;
  let size: number | undefined;
  let df = false;
  for (let i = 0; i < options.length; i++) {
    if (options[i] === 'df') df = true;
    else if (options[i] === 'size') size = Number(options[++i]);
    else throw new Error(`scenario: ping does not take '${options[i]}'`);
  }
  if (size !== undefined && !Number.isInteger(size)) throw new Error('scenario: ping: size NUMBER');
  return size === undefined ? { address, df } : { address, size, df };
}

function frameOf({ mac }: WorkloadSpec, text: string): Uint8Array {
  const frame = parseFrameText(text, { src: parseMac(mac) as Mac });
  if (!(frame instanceof Uint8Array)) throw new Error(`scenario: ${frame.error}`);
  return frame;
}

/** `[cut MTU]` behind a frame. */
function readSent(of: WorkloadSpec, [text = '', ...how]: readonly string[]): Sent {
  const frame = frameOf(of, text);
  if (how.length === 0) return { frame, parts: [frame] };
  const parts = how[0] === 'cut' && how.length === 2 ? fragments(frame, Number(how[1])) : undefined;
  if (parts === undefined) throw new Error(`scenario: send does not take '${how.join(' ')}'`);
  return { frame, parts };
}

interface Call {
  readonly stage: Stage;
  /** The workload named first. */
  readonly of: WorkloadSpec;
  /** The words behind it. */
  readonly args: readonly string[];
  readonly expected: Expected;
}
type Action = (call: Call) => Promise<readonly string[]>;

const NOTHING: readonly string[] = [];

/** By the command's first word; those that begin with a workload. */
const ACTIONS: Readonly<Record<string, Action>> = {
  ping: async ({ stage, of, args, expected }) => [
    describePing(await stage.ping(of.name, readPing(args), expected)),
  ],
  traceroute: async ({ stage, of, args: [to = ''], expected }) => {
    const hops = await stage.traceroute(of.name, to, expected);
    return hops.map((hop, i) => `${i + 1} ${hop}`);
  },
  arping: async ({ stage, of, args: [address = ''] }) => [
    (await stage.arping(of.name, address)) ?? NO_REPLY,
  ],
  send: async ({ stage, of, args, expected }) => {
    const got = await stage.send(of.name, readSent(of, args), expected);
    if (got.length === 0) return [NOBODY];
    return got.map((each) => `${each.workload} gets ${describeFrame(each.frame)}`);
  },
  ask: async ({ stage, of, args: [text = ''], expected }) => [
    (await stage.ask(of.name, frameOf(of, text), expected)) ? 'answer' : NO_REPLY,
  ],
  announce: async ({ stage, of, args: [address = ''] }) => {
    await stage.announce(of.name, address);
    return NOTHING;
  },
  release: async ({ stage, of, args: [address = ''] }) => {
    await stage.release(of.name, address);
    return NOTHING;
  },
  move: async ({ stage, of, args: [host = ''] }) => {
    await stage.move(of.name, host);
    return NOTHING;
  },
  link: async ({ stage, of, args: [state] }) => {
    await stage.link(of.name, state === 'up');
    return NOTHING;
  },
};

/** What the steps of one run have in common. */
export interface Play {
  readonly stage: Stage;
  readonly scenario: Scenario;
  readonly files: ScenarioFiles;
}

async function operate({ stage, files }: Play, args: readonly string[]): Promise<string[]> {
  const at = args.at(-2) === '>' ? args.length - 2 : args.length;
  const { out, err, code } = await stage.mn(files.arguments(args.slice(0, at)));
  const into = args[at + 1];
  if (into !== undefined) files.write(into, out);
  const shown = printed(files.shown(into === undefined ? out + err : err));
  return code === 0 ? shown : [...shown, `(exit ${code})`];
}

/** Runs one command on a stage; what it printed, as lines. */
export async function perform(play: Play, step: ScenarioStep): Promise<readonly string[]> {
  const { stage, scenario, files } = play;
  const { command, expected } = step;
  for (const [name, text] of Object.entries(step.files)) files.write(name, text);
  const [program = '', ...args] = words(command);
  if (program === 'mn') return operate(play, args);
  const [first = '', ...rest] = args;
  if (program === 'cat') return printed(files.read(first));
  if (program === 'agent') {
    await stage.agent(first, rest[0] as 'stop' | 'start' | 'kill');
    return NOTHING;
  }
  const action = ACTIONS[program];
  if (action === undefined) throw new Error(`scenario: unknown command ${program}`);
  const of = scenario.workloads.find(({ name }) => name === first);
  if (of === undefined) throw new Error(`scenario: there is no workload ${first}`);
  return action({ stage, of, args: rest, expected });
}
