/**
 * `mn logs`: the last lines of the log of the API or of an agent, wherever they write it. One
 * request is followed through all of them by its id.
 */
import type { Command } from 'commander';
import { Argument } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOG_LINES_MAX, type LogLines } from '#client/health-asks.ts';
import { examples } from '../examples.ts';
import { harmless, type Style, styled } from '../format.ts';
import type { CliIo } from '../io.ts';
import { action, formatOf, numberOption, outputOption, type Session } from '../session.ts';
import { API, hostOf } from './log-level.ts';

const LINES_DEFAULT = 100;
const FOLLOW_MS = 1_000;

const STYLES: Readonly<Record<string, Style>> = { error: 'red', warn: 'yellow', debug: 'dim' };
/** Of every line; shown in front, or of no use beside them. */
const HEAD = ['time', 'level', 'msg', 'name'];

/** `12:30:01.250 info request  who=… status=201`; a line that is no JSON stays as it is. */
export function lineText(io: CliIo, line: string): string {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return harmless(line);
  }
  const { time, level, msg } = fields;
  const rest = Object.entries(fields)
    .filter(([name]) => !HEAD.includes(name))
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const word = String(level).padEnd(5);
  const style = STYLES[String(level)];
  const coloured = style === undefined ? word : styled(io, style, word);
  const text = [String(msg), ...rest].join('  ');
  return `${String(time).replace(/^.*T|Z$/g, '')} ${coloured} ${harmless(text)}`;
}

function tell(io: CliIo, page: LogLines, raw: boolean): void {
  if (page.missed > 0) io.err(`${page.missed} lines are no longer kept\n`);
  for (const line of page.lines) io.out(`${raw ? line : lineText(io, line)}\n`);
}

export function addLogs(session: Session, program: Command): void {
  const { io } = session;
  const command = program
    .command('logs')
    .addArgument(new Argument('[target]', `${API}, or the name of a host`).default(API))
    .description('the last lines of the log of the API, or of the agent of a host')
    .helpGroup('Looking:')
    .addOption(
      numberOption(
        '--limit <n>',
        `so many of the last lines, ${LINES_DEFAULT} unless told`,
        LOG_LINES_MAX,
      ),
    )
    .option('--request <id>', 'only lines of one request; commands show its id with --verbose')
    .option('--follow', 'and those that come, until it is stopped')
    .addOption(outputOption());
  examples(command, [
    'mn logs',
    'mn logs h1 --limit 20',
    'mn logs api --request 0123456789abcdef',
    'mn logs h2 --follow',
    'mn logs api -o json',
  ]).action(
    action(session, async ([target = API], options) => {
      const host = hostOf(target);
      const text = options['request'] as string | undefined;
      const limit = (options['limit'] as number | undefined) ?? LINES_DEFAULT;
      const raw = formatOf(options) !== 'table';
      const asked = { limit, ...(text !== undefined && { text }) };
      let page = await io.client.logs(host, asked);
      tell(io, { ...page, missed: 0 }, raw);
      const { signal } = io;
      while (options['follow'] === true && signal !== undefined && !signal.aborted) {
        await sleep(FOLLOW_MS, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) return;
        page = await io.client.logs(host, { ...asked, limit: LOG_LINES_MAX, after: page.next });
        tell(io, page, raw);
      }
    }),
  );
}
