/**
 * `lab check`: who reaches whom, against who should. A pair of one tenant must be reached by
 * broadcast, ping and ping -6; a pair of two tenants must not be reached by the broadcast of
 * either.
 */
import type { Lab } from './lab.ts';
import { eachAtOnce, ping } from './ping.ts';
import { type HelloOptions, Stage } from './stage.ts';

export type Cell = 'self' | 'ok' | 'apart' | 'LEAK' | 'LOST';

/** Row: sender; column: receiver; both in the recipe's order. */
export async function matrix(lab: Lab, options?: HelloOptions): Promise<Cell[][]> {
  using stage = new Stage(lab);
  const heard = await stage.hello(options);
  const friends = stage.pairs(true);
  const answered = await eachAtOnce(friends, async ([a, b]) => {
    const { name } = stage.station(a);
    const { ip4, ip6 } = stage.station(b);
    const results = [await ping(lab, name, ip4), await ping(lab, name, ip6)];
    return results.every((result) => result.received === 1);
  });
  const reached = new Set(friends.filter((_, i) => answered[i]).map(([a, b]) => `${a}>${b}`));
  return stage.stations.map((_, a) =>
    stage.stations.map((_, b): Cell => {
      const pair = `${a}>${b}`;
      if (a === b) return 'self';
      if (!stage.areFriends(a, b)) return heard.has(pair) ? 'LEAK' : 'apart';
      return heard.has(pair) && reached.has(pair) ? 'ok' : 'LOST';
    }),
  );
}

const SHOWN: Readonly<Record<Cell, string>> = {
  self: '',
  ok: 'ok',
  apart: '-',
  LEAK: 'LEAK',
  LOST: 'LOST',
};

/** As a table, with a legend. */
export function describeMatrix(names: readonly string[], cells: readonly Cell[][]): string[] {
  const width = Math.max(4, ...names.map((name) => name.length)) + 2;
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
    'ok: broadcast, IPv4 and IPv6 arrive; -: nothing arrives, as it must',
  ];
}

export const isAsExpected = (cells: readonly Cell[][]): boolean =>
  cells.flat().every((cell) => cell !== 'LEAK' && cell !== 'LOST');
