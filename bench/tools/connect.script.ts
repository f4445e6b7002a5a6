/**
 * New TCP connections, one after the other by a few clients at once: `serve PORT`, or `ask ADDRESS
 * PORT SECONDS`, which prints how many were opened, answered by a byte, and closed in a second; and
 * requests of a byte on connections that are kept: `echo PORT`, and `talk ADDRESS PORT SECONDS`.
 * Run inside the parts of a lab; both ends are the same for every side.
 */
import { connect, createServer, type Socket } from 'node:net';

const CLIENTS = 8;
const [what, ...args] = process.argv.slice(2);

/** Opens a connection, has it answered, and closes it; false: that failed. */
const opened = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port });
    let got = false;
    socket.on('data', () => (got = true));
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(got));
  });

/** Asks on one connection, again and again; false: it broke. */
function talk(socket: Socket): () => Promise<boolean> {
  let heard = (_: boolean): void => {};
  socket.on('data', () => heard(true));
  socket.on('error', () => heard(false));
  socket.on('close', () => heard(false));
  return () =>
    new Promise((resolve) => {
      if (socket.destroyed) return resolve(false);
      heard = resolve;
      socket.write('x');
    });
}

async function measure(client: () => () => Promise<boolean>, seconds: number): Promise<void> {
  const endMs = performance.now() + seconds * 1_000;
  let [done, failed] = [0, 0];
  const repeat = async (): Promise<void> => {
    const one = client();
    while (performance.now() < endMs) {
      if (await one()) done += 1;
      // Whose connection is broken is out of it.
      else if (((failed += 1), what === 'talk')) return;
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, repeat));
  console.log(JSON.stringify({ perSecond: done / seconds, failed }));
  process.exit();
}

if (what === 'serve' || what === 'echo') {
  createServer((socket) => {
    socket.on('error', () => socket.destroy());
    // The server closes first, so that the client's ports are free at once (RFC 9293 §3.6).
    if (what === 'serve') socket.end('x');
    else socket.setNoDelay().pipe(socket);
  }).listen(Number(args[0]), '0.0.0.0', 4_096, () => console.log('ready'));
} else {
  const [host = '', port, seconds] = args;
  const to = { host, port: Number(port), noDelay: true };
  await measure(
    what === 'talk' ? () => talk(connect(to)) : () => () => opened(host, Number(port)),
    Number(seconds),
  );
}
