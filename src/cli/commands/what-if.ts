/**
 * `mn what-if`: what a change would break, open or move of the flows that are live now. The change
 * is said as for `mn apply`, in documents, or as operations of the API; nothing is written.
 */
import { Option, type Command } from 'commander';
import { parse as parseYaml } from 'yaml';
import type { FlowChange, FlowFate, WhatIf, WhatIfRequest } from '#client/what-if.ts';
import { WHAT_IF_FLOWS, WHAT_IF_FLOWS_MAX, WHAT_IF_OPERATIONS_MAX } from '#client/what-if.ts';
import type { Operation } from '#client/types.ts';
import { operationsOf } from '../documents/batches.ts';
import { isRecord } from '../documents/document.ts';
import type { Files } from '../files.ts';
import { count, print, styled } from '../format.ts';
import { RefusedError, type Screen, UsageError } from '../io.ts';
import { action, formatOf, numberOption, type Options, outputOption } from '../session.ts';
import type { Session } from '../session.ts';
import { compareGiven, documentOptions } from './apply.ts';

const FORMS = ['summary', 'detailed'] as const;
type Form = (typeof FORMS)[number];
/** Objects that would change, told to people. */
const OBJECTS_TOLD_MAX = 20;

const HELP = `
The change:
  Documents, as for mn apply; "delete: true" in one deletes the object. Or a list of operations:
    - {op: update, kind: port, id: r0-b2, body: {adminStateUp: false}}
    - {op: delete, kind: route, id: default}

Each live flow is decided twice, on the network as it is and as it would be:
  broken  its packets arrive, and would not      opened  the other way round
  moved   they would reach others, be rewritten otherwise, or go another way
Flows are what was sent lately: what nobody has sent yet is not among them (mn trace).

Examples:
  mn what-if -f changes.yaml
  mn what-if -f changes.yaml --form detailed
  mn what-if -f network.yaml --prune -l app=web -o json
`;

/** Files that are read once, however often they are asked for: standard input comes once. */
function readOnce(files: Files): Files {
  const texts = new Map<string, Promise<string>>();
  return {
    list: (path) => files.list(path),
    read: (path) => texts.getOrInsertComputed(path, () => files.read(path)),
  };
}

const isOperation = (item: unknown): item is Operation => isRecord(item) && 'op' in item;

/** The operations of a file; undefined when it holds documents. */
function operationsIn(text: string): readonly Operation[] | undefined {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch {
    // Several documents, or none: their reader says what is wrong.
    return undefined;
  }
  const list = isRecord(value) && 'operations' in value ? value['operations'] : value;
  return Array.isArray(list) && list.length > 0 && list.every(isOperation) ? list : undefined;
}

async function operationsOfFiles(
  session: Session,
  options: Options,
): Promise<readonly Operation[]> {
  const { io } = session;
  if (io.files === undefined) throw new UsageError('-f: there are no files here');
  const files = readOnce(io.files);
  const paths = options['file'] as readonly string[];
  const [only] = paths;
  if (paths.length === 1 && only !== undefined && (await listOf(files, only)) === undefined) {
    const operations = operationsIn(await textOf(files, only));
    if (operations !== undefined) return operations;
  }
  const { steps } = await compareGiven({ ...session, io: { ...io, files } }, options);
  // All in one list: what is made and has a name of its own goes by that.
  return operationsOf(steps.steps, new Map());
}
const listOf = (files: Files, path: string) => files.list(path).catch(() => undefined);
const textOf = (files: Files, path: string): Promise<string> => files.read(path).catch(() => '');

/** What became of it, in one line. */
function brief({ effect, about, step, lines }: FlowFate): string {
  if (effect === 'gone') return 'nothing enters there any more';
  if (effect !== 'dropped') return lines.at(-1) ?? effect;
  return `${step ?? 'drop'}${about === undefined ? '' : ` (${about})`}`;
}

function flowLines(io: Screen, form: Form, flow: FlowChange): string[] {
  const colour = { broken: 'red', opened: 'green', moved: 'yellow' } as const;
  const at = [flow.hostName, flow.portName ?? flow.from].filter((name) => name !== undefined);
  const where = form === 'detailed' ? `${flow.id} ` : '';
  const in_ = flow.changed.length === 0 ? '' : `, other ${flow.changed.join(', ')}`;
  const head =
    `${styled(io, colour[flow.class], flow.class)} ${where}${at.join(' ')}: ${flow.match}` +
    ` (${count(flow.packets, 'packet')}${in_})`;
  const depends =
    flow.depends.length === 0
      ? []
      : [`  depends on ${flow.depends.join(', ')}, which the flow does not match`];
  if (form === 'summary')
    return [head, `  now   ${brief(flow.before)}`, `  then  ${brief(flow.after)}`, ...depends];
  const all = ({ lines, effect }: FlowFate): string[] =>
    (effect === 'gone' ? ['nothing enters there any more'] : lines).map((line) => `    ${line}`);
  return [head, '  now', ...all(flow.before), '  then', ...all(flow.after), ...depends];
}

function coverageLines({ coverage, notListed }: WhatIf): string[] {
  const { missing, partly, otherwise } = coverage;
  return [
    ...missing.map(({ host, why }) => `not covered: ${host}: ${why}`),
    ...partly.map((host) => `not covered: ${host} has more flows than were looked at: --flows N`),
    ...(otherwise === 0
      ? []
      : [
          `${count(otherwise, 'flow')} decided otherwise by what the agent alone knows: mn why FLOW`,
        ]),
    ...(notListed === 0 ? [] : [`and ${count(notListed, 'flow')} more that would not be as it is`]),
  ];
}

function whatIfText(io: Screen, form: Form, result: WhatIf): string {
  const { changes, objects, counts, coverage, flows } = result;
  const told = objects.slice(0, OBJECTS_TOLD_MAX);
  const more = changes - told.length;
  const hosts = coverage.hosts === undefined ? '' : ` on ${count(coverage.hosts, 'host')}`;
  const lines = [
    `${count(changes, 'object')} would change`,
    ...told.map(({ op, kind, id, name }) => `  ${op} ${kind} ${name ?? id}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
    `${count(coverage.flows, 'flow')}${hosts}: ` +
      `${counts.broken} broken, ${counts.opened} opened, ${counts.moved} moved, ` +
      `${counts.unchanged} as now`,
    ...flows.flatMap((flow) => flowLines(io, form, flow)),
    ...coverageLines(result),
  ];
  return `${lines.join('\n')}\n`;
}

export function addWhatIf(session: Session, program: Command): void {
  const command = program
    .command('what-if')
    .description('what a change would break, open or move of the live flows, before it is made')
    .helpGroup('Looking:');
  documentOptions(command)
    .addOption(new Option('--form <form>', 'how much to tell').choices(FORMS).default(FORMS[0]))
    .addOption(
      numberOption(
        '--flows <n>',
        `look at no more flows than these (${WHAT_IF_FLOWS})`,
        WHAT_IF_FLOWS_MAX,
      ),
    )
    .addOption(outputOption())
    .addHelpText('after', HELP)
    .action(
      action(session, async (_args, options) => {
        const { io } = session;
        const operations = await operationsOfFiles(session, options);
        if (operations.length === 0) return io.out('nothing would change\n');
        if (operations.length > WHAT_IF_OPERATIONS_MAX)
          throw new RefusedError(
            `these are ${operations.length} operations; at most ${WHAT_IF_OPERATIONS_MAX} are looked at together`,
            'Give a part of the documents',
          );
        const flows = options['flows'] as number | undefined;
        const request: WhatIfRequest = { operations, ...(flows !== undefined && { flows }) };
        const result = await io.client.whatIf(request);
        const form = options['form'] as Form;
        print(io, formatOf(options), { value: result, text: () => whatIfText(io, form, result) });
      }),
    );
}
