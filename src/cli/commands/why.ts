/**
 * `mn why`: why frames are forwarded or dropped, from the agents that do it: the recorded cause of
 * an installed flow, of the flow that a packet would match, or of all flows between two ports.
 *
 * Invariant: what is recorded and what is only a trace are never mixed up: where no flow is
 * installed, that is said first.
 */
import type { Command } from 'commander';
import type { DropCount, FlowRow, WhyPacket, WhyPair } from '#client/flows.ts';
import { describeFrame } from '#net/text.ts';
import { examples } from '../examples.ts';
import { count } from '../format.ts';
import { UsageError } from '../io.ts';
import { showAnswer, watchOption } from '../listing.ts';
import { PACKET_GRAMMAR, packetOf } from '../packets.ts';
import { action, outputOption, type Session } from '../session.ts';
import { tellMissing } from '../pages.ts';
import { carriedWord, entryWord, span, verdictWord } from './flows.ts';

/** As `mn flows` prints it. */
const FLOW_ID = /^.+:\d+\.\d+$/;

function carried(row: FlowRow): string {
  const { ageMs, idleMs } = row;
  const last = idleMs === undefined ? '' : `, the last ${span(idleMs)} ago`;
  return `carried ${carriedWord(row)}${last}; installed ${span(ageMs)} ago`;
}

/** All about one flow. */
function flowLines(row: FlowRow): string[] {
  return [
    `flow ${row.id}, ${verdictWord(row)}: what enters at ${entryWord(row)} and matches`,
    `  ${row.match}`,
    'because',
    ...(row.lines.length === 0
      ? ['  it was found installed, and is not decided anew yet']
      : row.lines.map((line) => `  ${line}`)),
    'so it does',
    `  ${row.actions}`,
    carried(row),
  ];
}

const dropLines = (drops: readonly DropCount[]): string[] =>
  drops.map(
    ({ port, reason, about, frames }) =>
      `besides, of port ${port} ${count(frames, 'frame')} dropped by no flow here: ${reason}: ${about}`,
  );

function packetLines(frame: Uint8Array, { flow, beyond, trace, drops }: WhyPacket): string[] {
  const lines = [describeFrame(frame)];
  if (flow !== undefined) lines.push(...flowLines(flow));
  if (trace === undefined) return [...lines, ...dropLines(drops)];
  const only = 'what follows is a trace by the agent, nothing that is installed';
  lines.push(
    flow === undefined
      ? `no flow is installed that it matches; ${only}`
      : `not this packet: ${beyond ?? 'it does not fit'}; ${only}`,
    ...trace.lines.map((line) => `  ${line}`),
    ...dropLines(drops),
  );
  return lines;
}

function pairLines(
  [from, to]: readonly [string, string],
  { forth, back, drops }: WhyPair,
): string[] {
  const part = (a: string, b: string, rows: readonly FlowRow[]): string[] =>
    rows.length === 0
      ? [`${a} > ${b}: no flow is installed; a trace says what would happen: mn trace`]
      : [
          `${a} > ${b}: ${count(rows.length, 'flow')}`,
          ...rows.flatMap((row) => flowLines(row).map((line) => `  ${line}`)),
        ];
  const there = part(from, to, forth);
  return [...there, ...(from === to ? [] : part(to, from, back)), ...dropLines(drops)];
}

const joined = (lines: readonly string[]): string => `${lines.join('\n')}\n`;

export function addWhy(session: Session, program: Command): void {
  const command = program
    .command('why')
    .description('why a live flow, a packet, or what is between two ports, goes or is dropped')
    .helpGroup('Looking:')
    .argument('<what>', 'the id of a flow, a packet "… from PORT", or a port')
    .argument('[port]', 'a second port: flows between the two')
    .addOption(watchOption())
    .addOption(outputOption())
    .addHelpText('after', PACKET_GRAMMAR);
  examples(command, [
    'mn why "02:00:00:00:01:02 > 02:00:00:00:01:01 icmp 10.0.1.2 > 10.0.2.2 from vm1"',
    'mn why "02:00:00:00:01:02 > 02:00:00:00:01:01 tcp 10.0.1.2:33 > 10.9.9.9:80 from vm1" -o json',
    'mn why vm1 vm2',
    'mn why h1:70000.1   # exit 1: there is no such flow any more',
  ]);
  command.action(
    action(session, async ([what = '', other], options) => {
      const { client } = session.io;
      if (other !== undefined) {
        if (/\s/.test(what) || /\s/.test(other))
          throw new UsageError('give one packet, or two ports', 'See: mn why --help');
        return await showAnswer(session, options, async () => {
          const pair = await client.whyPair(what, other);
          tellMissing(session, pair.missing);
          return { value: pair, text: () => joined(pairLines([what, other], pair)) };
        });
      }
      if (FLOW_ID.test(what) && !/\s/.test(what))
        return await showAnswer(session, options, async () => {
          const row = await client.flow(what);
          return { value: row, text: () => joined(flowLines(row)) };
        });
      const { port, frame } = await packetOf(session, what, undefined);
      return await showAnswer(session, options, async () => {
        const told = await client.whyPacket(port, frame.toHex());
        return { value: told, text: () => joined(packetLines(frame, told)) };
      });
    }),
  );
}
