/**
 * `lab check`: who reaches whom, against who should by the recipe. A pair on one bridge must be
 * reached by broadcast, ping and ping -6; any other must not be reached by the broadcast of either,
 * and where routes lead from one to the other and back, ping and ping -6 must be answered.
 */
import { relation } from './expected.ts';
import type { Lab } from './lab.ts';
import { eachAtOnce, ping } from './ping.ts';
import { type HelloOptions, Stage } from './stage.ts';

export type Cell = 'self' | 'ok' | 'routed' | 'apart' | 'LEAK' | 'LOST';

/** Row: sender; column: receiver; both in the recipe's order. */
export async function matrix(lab: Lab, options?: HelloOptions): Promise<Cell[][]> {
  using stage = new Stage(lab);
  const heard = await stage.hello(options);
  const relationOf = (a: number, b: number) =>
    relation(lab.recipe, stage.station(a).name, stage.station(b).name);
  const related = [...stage.pairs(true), ...stage.pairs(false)].filter(
    ([a, b]) => relationOf(a, b) !== 'apart',
  );
  const answered = await eachAtOnce(related, async ([a, b]) => {
    const { name } = stage.station(a);
    const { ip4, ip6 } = stage.station(b);
    const results = [await ping(lab, name, ip4), await ping(lab, name, ip6)];
    return results.every((result) => result.received === 1);
  });
  const reached = new Set(related.filter((_, i) => answered[i]).map(([a, b]) => `${a}>${b}`));
  return stage.stations.map((_, a) =>
    stage.stations.map((_, b): Cell => {
      const pair = `${a}>${b}`;
      if (a === b) return 'self';
      const should = relationOf(a, b);
      if (should === 'linked') return heard.has(pair) && reached.has(pair) ? 'ok' : 'LOST';
      if (heard.has(pair)) return 'LEAK';
      if (should === 'apart') return 'apart';
      return reached.has(pair) ? 'routed' : 'LOST';
    }),
  );
}

const SHOWN: Readonly<Record<Cell, string>> = {
  self: '',
  ok: 'ok',
  routed: 'routed',
  apart: '-',
  LEAK: 'LEAK',
  LOST: 'LOST',
};

/** As a table, with a legend. */
export function describeMatrix(names: readonly string[], cells: readonly Cell[][]): string[] {
  const shown = [...names, ...cells.flat().map((cell) => SHOWN[cell])];
  const width = Math.max(4, ...shown.map((text) => text.length)) + 2;
  const row = (head: string, columns: readonly string[]): string =>
    [head, ...columns]
      .map((text) => text.padEnd(width))
      .join('')
      .trimEnd();
  return [
    row('', names),
    ...cells.map((line, i) =>
      row(
        names[i] ?? '',
        line.map((cell) => SHOWN[cell]),
      ),
    ),
    '',
    'row: sender; column: receiver',
    'ok: broadcast, IPv4 and IPv6 arrive; routed: IPv4 and IPv6 do, through routers',
    '-: nothing arrives, as it must',
  ];
}

export const isAsExpected = (cells: readonly Cell[][]): boolean =>
  cells.flat().every((cell) => cell !== 'LEAK' && cell !== 'LOST');
