/**
 * `mn doctor`: what is not well, by what that is known, and what to type. The API looks at its own
 * state, asks every agent to look at its host, and has probes sent by every tunnel; this command
 * adds what only the caller can see: whether the API answers, its version and its clock.
 *
 * Exit code: 6 when an error was found, 0 when at most warnings, 3 when no API answered.
 */
import type { Command } from 'commander';
import { ApiError, Unavailable } from '#client/errors.ts';
import { type Finding, SEVERITIES, type Severity } from '#client/health-asks.ts';
import { examples } from '../examples.ts';
import { count, harmless, print, type Style, styled } from '../format.ts';
import { type CliIo, EXIT, type ExitCode } from '../io.ts';
import { durationText } from '../quantities.ts';
import { action, formatOf, outputOption, type Session } from '../session.ts';

/** The caller's clock, compared with the API's: beyond, times in answers mislead. */
const CLOCK_APART_MS = 5_000;
const STYLES: Readonly<Record<Severity, Style>> = {
  error: 'red',
  warning: 'yellow',
  info: 'dim',
};

export interface Examined {
  readonly version: string | undefined;
  readonly findings: readonly Finding[];
}

/** What the caller's own side shows. */
export function ownFindings(
  own: { readonly version: string | undefined; readonly timeMs: number },
  api: { readonly version: string; readonly timeMs: number },
): Finding[] {
  const found: Finding[] = [];
  const apartMs = Math.abs(own.timeMs - api.timeMs);
  if (apartMs > CLOCK_APART_MS)
    found.push({
      severity: 'warning',
      check: 'clock',
      what: "this machine's clock and the API's are apart",
      evidence: `by ${durationText(apartMs)}`,
      remedy: 'timedatectl set-ntp true, on both',
    });
  if (own.version !== undefined && own.version !== api.version)
    found.push({
      severity: 'warning',
      check: 'version',
      what: 'this program is of another version than the API',
      evidence: `mn ${own.version}, API ${api.version}`,
      remedy: 'use the mn that came with the API',
    });
  return found;
}

/** An API that is not there, or does not take the token, is a finding too. */
function unreachable(error: unknown): Finding | undefined {
  if (error instanceof Unavailable)
    return {
      severity: 'error',
      check: 'api',
      what: 'no API answers',
      evidence: error.message,
      remedy: 'start one: mn api --data DIR; or name another: MN_API=… or --api URL',
    };
  if (error instanceof ApiError && [401, 403].includes(error.status))
    return {
      severity: 'error',
      check: 'api-authorisation',
      what: 'the API does not take this token for an operator',
      evidence: error.message.split('\n')[0] ?? '',
      remedy: 'mn token issue --role operator, on the machine of the API; then MN_TOKEN_FILE=FILE',
    };
  return undefined;
}

function findingText(io: CliIo, { severity, host, what, evidence, remedy }: Finding): string {
  const head = styled(io, STYLES[severity], severity.padEnd(7));
  const where = host === undefined || what.includes(host) ? '' : `${host}: `;
  const lines = [
    `${head}  ${harmless(`${where}${what}`)}`,
    `         ${harmless(evidence)}`,
    ...(remedy === '' ? [] : [`         ${styled(io, 'bold', '→')} ${harmless(remedy)}`]),
  ];
  return `${lines.join('\n')}\n`;
}

function summary(findings: readonly Finding[]): string {
  const parts = SEVERITIES.map((severity) => ({
    severity,
    n: findings.filter((each) => each.severity === severity).length,
  })).filter(({ n }) => n > 0);
  if (parts.length === 0) return 'All is well.\n';
  const words = { error: 'error', warning: 'warning', info: 'note' } as const;
  return `${parts.map(({ severity, n }) => count(n, words[severity])).join(', ')}\n`;
}

/** Looks; what keeps it from looking is a finding. Throws what only a bug of ours makes. */
export async function examine(io: CliIo): Promise<Examined & { readonly code: ExitCode }> {
  try {
    const api = await io.client.doctor();
    const own = ownFindings({ version: io.version, timeMs: (io.wall ?? Date.now)() }, api);
    const findings = [...own, ...api.findings].toSorted(
      (a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity),
    );
    const bad = findings.some(({ severity }) => severity === 'error');
    return { version: api.version, findings, code: bad ? EXIT.unwell : EXIT.ok };
  } catch (error) {
    const finding = unreachable(error);
    if (finding === undefined) throw error;
    const code = finding.check === 'api' ? EXIT.unreachable : EXIT.refused;
    return { version: undefined, findings: [finding], code };
  }
}

export function addDoctor(session: Session, program: Command): void {
  const { io } = session;
  const command = program
    .command('doctor')
    .description('what is not well on hosts and between them, and what to type')
    .helpGroup('Looking:')
    .addOption(outputOption());
  examples(command, ['mn doctor', 'mn doctor -o json']).action(
    action(session, async (_args, options) => {
      const { findings, version, code } = await examine(io);
      print(io, formatOf(options), {
        value: { version, findings },
        text: () =>
          [...findings.map((each) => findingText(io, each)), summary(findings)].join('\n'),
      });
      return code;
    }),
  );
}
