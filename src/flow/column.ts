/**
 * Columns of numbers that grow: the tables of flows keep one number a row in each, because an
 * object a row would cost several times as much and give the collector something to trace.
 */

/** No row. */
export const NONE = -1;
const FIRST_ROWS = 256;

/** A bigger copy of a column; new rows hold NONE. */
export function grown(column: Int32Array<ArrayBuffer>, rows: number): Int32Array<ArrayBuffer> {
  const bigger = new Int32Array(rows).fill(NONE, column.length);
  bigger.set(column);
  return bigger;
}

/**
 * How many rows to have when `rows` are used up: a quarter more; at most `max`, which must be more.
 */
export const moreRows = (rows: number, max: number): number =>
  Math.min(max, Math.max(FIRST_ROWS, rows + (rows >> 2)));
