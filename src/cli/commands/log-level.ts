/**
 * `mn log-level`: how much the API or an agent says in its log, changed while it runs. A change is
 * for a time, and returns by itself: nobody has to remember it.
 */
import type { Command } from 'commander';
import { Argument, InvalidArgumentError, Option } from 'commander';
import { LOG_LEVEL_MS_DEFAULT, LOG_LEVEL_MS_MAX } from '#client/health-asks.ts';
import { examples } from '../examples.ts';
import { pairs, print } from '../format.ts';
import { durationText, parseDuration } from '../quantities.ts';
import { action, formatOf, outputOption, type Session } from '../session.ts';

export const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
/** The word for the API node, where another is the name of a host. */
export const API = 'api';
export const hostOf = (target: string): string | undefined => (target === API ? undefined : target);

function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= 1_000 && ms <= LOG_LEVEL_MS_MAX) return ms;
  throw new InvalidArgumentError('a time from 1s to 1d, as 30s, 10m or 2h.');
}

export function addLogLevel(session: Session, program: Command): void {
  const { io } = session;
  const command = program
    .command('log-level')
    .addArgument(new Argument('[target]', `${API}, or the name of a host`).default(API))
    .addArgument(new Argument('[level]', 'what to say from now on').choices(LEVELS))
    .description('how much the API or an agent logs; changed for a time')
    .helpGroup('Operating:')
    .addOption(
      new Option(
        '--for <time>',
        `then it is as before; ${durationText(LOG_LEVEL_MS_DEFAULT)} unless told`,
      ).argParser(duration),
    )
    .addOption(outputOption());
  examples(command, [
    'mn log-level',
    'mn log-level api debug --for 30s',
    'mn log-level h1',
    'mn log-level h1 debug',
    'mn log-level h9   # exit 1: there is no such host',
  ]).action(
    action(session, async ([target = API, level], options) => {
      const forMs = options['for'] as number | undefined;
      const host = hostOf(target);
      const now =
        level === undefined
          ? await io.client.logLevel(host)
          : await io.client.setLogLevel(host, level, forMs);
      const words = pairs([
        ['Level', now.level],
        ...(now.level === now.usual
          ? []
          : ([['Usually', now.usual]] as const satisfies readonly (readonly [string, string])[])),
        ...(level === undefined || now.level === now.usual
          ? []
          : ([['For', durationText(forMs ?? LOG_LEVEL_MS_DEFAULT)]] as const)),
      ]);
      print(io, formatOf(options), { value: now, text: () => words });
    }),
  );
}
