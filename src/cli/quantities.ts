/** Sizes, durations and parts as people read them: two digits that matter, and a unit. */

const rounded = (n: number): string => (n >= 10 ? String(Math.round(n)) : n.toFixed(1));

/** `812 B`, `1.4 MB`: in powers of ten, as disks are sold. */
export function bytesText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  let left = bytes;
  let unit = '';
  for (unit of ['kB', 'MB', 'GB', 'TB']) {
    left /= 1_000;
    if (left < 999.5) break;
  }
  return `${rounded(left)} ${unit}`;
}

/** `0.4 ms`, `12 ms`, `3.2 s`, `5 min`, `3 h 10 min`, `4 d 2 h`. */
export function durationText(ms: number): string {
  if (ms < 999.5) return `${rounded(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 59.5) return `${rounded(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

/** `92 %`; never 100 % of what is not full. */
export const partText = (used: number, max: number): string =>
  `${used >= max ? Math.round((used / max) * 100) : Math.min(99, Math.floor((used / max) * 100))} %`;

/** `30s`, `10m`, `2h`, `1d` in milliseconds; undefined for text of another form. */
export function parseDuration(text: string): number | undefined {
  const [, n, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (n === undefined || unit === undefined) return undefined;
  const factor = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit] ?? 0;
  return Number(n) * factor;
}
