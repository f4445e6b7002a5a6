/**
 * New TCP connections, one after the other by a few clients at once: `serve PORT`, or `ask ADDRESS
 * PORT SECONDS`, which prints how many were opened, answered by a byte, and closed in a second.
 * Run inside the parts of a lab; both ends are the same for every side.
 */
import { connect, createServer } from 'node:net';

const CLIENTS = 8;
const [what, ...args] = process.argv.slice(2);

if (what === 'serve') {
  createServer((socket) => {
    socket.on('error', () => socket.destroy());
    // The server closes first, so that the client's ports are free at once (RFC 9293 §3.6).
    socket.end('x');
  }).listen(Number(args[0]), '0.0.0.0', 4_096, () => console.log('ready'));
} else {
  const [address = '', port = '', seconds = ''] = args;
  const endMs = performance.now() + Number(seconds) * 1_000;
  let [opened, failed] = [0, 0];
  const one = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect({ host: address, port: Number(port) });
      let got = false;
      socket.on('data', () => (got = true));
      socket.on('error', () => resolve(false));
      socket.on('close', () => resolve(got));
    });
  const client = async (): Promise<void> => {
    while (performance.now() < endMs)
      if (await one()) opened += 1;
      else failed += 1;
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  console.log(JSON.stringify({ perSecond: opened / Number(seconds), failed }));
}
