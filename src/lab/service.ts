/**
 * A small service and its clients, as programs of a workload.
 *
 *   serve NAME PORT               says its name to whoever connects, then sends back what it gets
 *   connect ADDRESS PORT SECONDS  opens connections one after another, several at a time, and holds
 *                                 some from the start; prints what became of them, as JSON
 *
 * Invariant: clients end by themselves, and open no more than LANES / PAUSE_MS allows.
 */
import { createConnection, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const LANES = 4;
const PAUSE_MS = 10;
const HELD = 16;
const BEAT_MS = 50;
/** Whoever hears nothing for so long has failed. */
const ANSWER_MS = 3_000;
/** The last part of the time, counted by itself. */
const LATE_MS = 1_000;

export interface Served {
  /** Connections by the name of who served them: in all, and in the last second. */
  readonly opened: Readonly<Record<string, number>>;
  readonly late: Readonly<Record<string, number>>;
  readonly failed: number;
  /** Held from the start: by who served them, and those of them that broke. */
  readonly held: Readonly<Record<string, number>>;
  readonly broken: Readonly<Record<string, number>>;
}

function serve(name: string, port: number): void {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(`${name}\n`);
    socket.pipe(socket);
  });
  server.listen(port, '::');
}

/** The next thing that is said; rejects when the connection breaks, or nothing is. */
function hear(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const broken = (): void => reject(new Error('broken'));
    const timer = setTimeout(broken, ANSWER_MS);
    socket.once('close', broken);
    socket.once('data', (data: Buffer) => {
      clearTimeout(timer);
      socket.off('close', broken);
      resolve(data.toString().trim());
    });
  });
}

function open(host: string, port: number): Socket {
  const socket = createConnection({ host, port, noDelay: true });
  socket.on('error', () => {});
  return socket;
}

class Tally {
  readonly counts: Record<string, number> = {};
  add(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }
}

async function connect(host: string, port: number, seconds: number): Promise<Served> {
  const [opened, late, held, broken] = [new Tally(), new Tally(), new Tally(), new Tally()];
  let failed = 0;
  const endMs = performance.now() + seconds * 1_000;
  const isOver = (): boolean => performance.now() >= endMs;
  const lane = async (): Promise<void> => {
    for (; !isOver(); await sleep(PAUSE_MS)) {
      const isLate = endMs - performance.now() < LATE_MS;
      const socket = open(host, port);
      try {
        const name = await hear(socket);
        opened.add(name);
        if (isLate) late.add(name);
      } catch {
        failed++;
      }
      socket.destroy();
    }
  };
  const hold = async (): Promise<void> => {
    const socket = open(host, port);
    let name = 'nobody';
    try {
      name = await hear(socket);
      held.add(name);
      for (; !isOver(); await sleep(BEAT_MS)) {
        const answer = hear(socket);
        socket.write('beat\n');
        await answer;
      }
    } catch {
      broken.add(name);
    }
    socket.destroy();
  };
  const all = [...Array.from({ length: LANES }, lane), ...Array.from({ length: HELD }, hold)];
  await Promise.all(all);
  const counts = { opened: opened.counts, late: late.counts, failed };
  return { ...counts, held: held.counts, broken: broken.counts };
}

if (import.meta.main) {
  const [mode, where = '', port, seconds] = process.argv.slice(2);
  if (mode === 'serve') serve(where, Number(port));
  else console.log(JSON.stringify(await connect(where, Number(port), Number(seconds))));
}
