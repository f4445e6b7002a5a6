/**
 * Act: why was it delivered, why was it dropped? The trace says so, and the real frame does the
 * same.
 */
import { parseFrameText } from '#net/text.ts';
import type { TraceResult } from '#client/trace.ts';
import { countersOf, countersWhen } from '../lab.ts';
import { markBytes } from '../probes.ts';
import { until } from '../processes.ts';
import { Stage } from '../stage.ts';
import { type Act, hostOf, KIND } from './act.ts';

const ARRIVE_MS = 5_000;
const ENFORCE_MS = 10_000;

export async function trace(act: Act, from: string, to: string): Promise<void> {
  const { lab, report } = act;
  using stage = new Stage(lab);
  const pair = [stage.numberOf(from), stage.numberOf(to)] as const;
  const target = await lab.client.get('port', to);

  const delivered = await ask(act, stage, pair);
  report.check(
    delivered.verdict === 'forward' && delivered.ports.includes(target.id),
    `the trace delivers it to ${to}`,
    {
      expected: `forward to ${target.id}`,
      actual: `${delivered.verdict} ${delivered.ports.join(' ')}`,
    },
  );
  report.equal(
    await sendReal(stage, pair, 1),
    1,
    'and so does the network: the same frame, sent for real, arrives',
  );

  await setAdminState(act, from, false);
  report.note(`$ mn port update ${from} --admin-state-up false --wait`);
  const dropped = await ask(act, stage, pair);
  report.equal(
    `${dropped.verdict}: ${dropped.reason}`,
    'drop: port-down',
    'the trace drops it, and says why',
  );
  const host = hostOf(lab, from);
  const before = (await countersOf(lab, host)).drops['port-down'] ?? 0;
  report.equal(await sendReal(stage, pair, 0), 0, 'the network drops it');
  const now = await countersWhen(lab, host, ({ drops }) => (drops['port-down'] ?? 0) > before)
    .then(({ drops }) => drops['port-down'] ?? 0)
    .catch(() => before);
  report.check(now > before, `and ${host} counts it under that reason: port-down ${now}`, {
    expected: `more than ${before}`,
    actual: now,
  });
  await setAdminState(act, from, true);
  report.equal(await sendReal(stage, pair, 1), 1, 'the port is up again: the frame arrives');
}

type Pair = readonly [number, number];

function udpText(stage: Stage, [from, to]: Pair): string {
  const [a, b] = [stage.station(from), stage.station(to)];
  return `${a.mac} > ${b.mac} udp ${a.ip4}:4000 > ${b.ip4}:4001`;
}

function frameOf(stage: Stage, pair: Pair): Uint8Array {
  const mark = markBytes({ kind: KIND.traced, from: pair[0], to: pair[1] });
  const frame = parseFrameText(`${udpText(stage, pair)} data ${Buffer.from(mark).toString('hex')}`);
  if ('error' in frame) throw new Error(frame.error);
  return frame;
}

async function ask({ lab, report }: Act, stage: Stage, pair: Pair): Promise<TraceResult> {
  const port = stage.station(pair[0]).name;
  const frame = Buffer.from(frameOf(stage, pair)).toString('hex');
  const result = await lab.client.trace({ port, frame });
  report.note(`$ mn trace ${port} "${udpText(stage, pair).replace(/^.* udp/, 'udp')}"`);
  for (const line of result.lines) report.note(`  ${line}`);
  return result;
}

/**
 * How many of the frames sent for real arrived, when `expected` have or the time for it is over.
 */
async function sendReal(stage: Stage, pair: Pair, expected: number): Promise<number> {
  stage.forget();
  stage.send(pair[0], frameOf(stage, pair));
  const arrived = (): number =>
    stage.arrivals().filter(({ mark, at }) => mark?.kind === KIND.traced && at === pair[1]).length;
  // A frame that must not come is outrun by hellos that must: sent later, by everybody else.
  if (expected > 0)
    await until('the frame arrives', ARRIVE_MS, () => arrived() >= expected).catch(() => {});
  else await stage.hello({ cut: pair[0] });
  return arrived();
}

async function setAdminState({ lab }: Act, port: string, adminStateUp: boolean): Promise<void> {
  const { revision } = await lab.client.update('port', port, { adminStateUp });
  const { behind } = await lab.client.wait(revision, ENFORCE_MS);
  if (behind.length > 0) throw new Error(`not enforced in time by ${behind.join(' ')}`);
}
