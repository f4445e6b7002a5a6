/**
 * A member, as a program of a workload: `member.ts NAME PORT FILE`. Serves HTTP, says in each
 * answer who it is, and takes a little time for it, so that something is always in flight. Requests
 * for `/r/ID` are noted in FILE when they have come, before they are answered: who was killed
 * cannot tell any more what it had taken.
 */
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

/** Asked for by whoever counts every request. */
export const COUNTED = '/r/';
export const MEMBER_HEADER = 'x-member';
/** What an answer takes: of requests that are counted, and of all others. */
const THINK_MS = { counted: 20, other: 5 } as const;
/** No connection is closed because nobody speaks for a moment: that would be a failure of ours. */
const KEEP_MS = 60_000;

function serve(name: string, port: number, file: string): void {
  const server = createServer((request, response) => {
    const { url = '' } = request;
    const isCounted = url.startsWith(COUNTED);
    if (isCounted) appendFileSync(file, `${url.slice(COUNTED.length)}\n`);
    response.setHeader(MEMBER_HEADER, name);
    setTimeout(() => response.end(name), isCounted ? THINK_MS.counted : THINK_MS.other);
  });
  server.keepAliveTimeout = KEEP_MS;
  server.listen(port, '::', 4_096);
}

if (import.meta.main) {
  const [name = '', port, file = ''] = process.argv.slice(2);
  serve(name, Number(port), file);
}
