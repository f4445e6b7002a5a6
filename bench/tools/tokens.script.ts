/**
 * TCP connections that each carry a token of their own, to see that every answer is for who asked:
 * `serve PORT PORTS`; `ask ADDRESS PORT PORTS TOTAL PUBLIC`, which opens TOTAL of them, one after
 * the other by a few clients at once; `hold ADDRESS PORT TOTAL`, which keeps all that it gets. Both
 * print what came of it as JSON. Run inside the parts of a lab.
 */
import { randomBytes } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';

const CLIENTS = 8;
const TOKEN_BYTES = 12;
const PATIENCE_MS = 4_000;
const [what = '', ...args] = process.argv.slice(2);

/** Answers a token with itself and with whom the server sees. */
function serve(first: number, count: number): void {
  for (let port = first; port < first + count; port++)
    createServer({ allowHalfOpen: true }, (socket) => {
      const { remoteAddress, remotePort } = socket;
      socket.on('error', () => socket.destroy());
      socket.on('data', (token) => socket.write(`${String(token)} ${remoteAddress} ${remotePort}`));
      socket.on('end', () => socket.end());
    }).listen(port, '0.0.0.0', 4_096);
}

interface Answer {
  readonly address: string;
  readonly port: number;
}
/** Undefined: the token of somebody else came back. */
function exchange(socket: Socket): Promise<Answer | 'other' | 'silence'> {
  const token = randomBytes(TOKEN_BYTES).toString('hex');
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      socket.destroy();
      resolve('silence');
    }, PATIENCE_MS);
    const end = (of: Answer | 'other' | 'silence'): void => {
      clearTimeout(timer);
      socket.removeAllListeners('data');
      resolve(of);
    };
    socket.on('data', (bytes) => {
      const [back, address = '', port = ''] = String(bytes).split(' ');
      end(back === token ? { address, port: Number(port) } : 'other');
    });
    socket.once('error', () => end('silence'));
    if (socket.connecting) socket.once('connect', () => socket.write(token));
    else socket.write(token);
  });
}

async function ask(host: string, first: number, ports: number, total: number, publicIp: string) {
  let [opened, failed, other, left] = [0, 0, 0, total];
  const used = new Uint8Array(8_192);
  let turn = 0;
  const one = async (): Promise<void> => {
    const socket = connect({ host, port: first + (turn++ % ports) });
    const answer = await exchange(socket);
    socket.on('error', () => {});
    if (typeof answer === 'object') {
      opened += 1;
      if (answer.address !== publicIp) other += 1;
      used[answer.port >> 3]! |= 1 << (answer.port & 7);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.end();
      await closed;
    } else {
      socket.destroy();
      if (answer === 'other') other += 1;
      else failed += 1;
    }
  };
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (left-- > 0) await one();
    }),
  );
  const seconds = (performance.now() - startMs) / 1_000;
  const bits = Buffer.from(used).toString('base64');
  console.log(JSON.stringify({ opened, failed, other, seconds, used: bits }));
}

async function hold(host: string, port: number, total: number): Promise<void> {
  const sockets: Socket[] = [];
  await Promise.all(
    Array.from({ length: total }, async () => {
      const socket = connect({ host, port });
      const answer = await exchange(socket);
      socket.on('error', () => {});
      if (typeof answer === 'object') sockets.push(socket);
    }),
  );
  const again = await Promise.all(sockets.map((socket) => exchange(socket)));
  const alive = again.filter((answer) => typeof answer === 'object').length;
  for (const socket of sockets) socket.destroy();
  console.log(JSON.stringify({ opened: sockets.length, alive }));
}

if (what === 'serve') serve(Number(args[0]), Number(args[1]));
else if (what === 'ask')
  await ask(args[0]!, Number(args[1]), Number(args[2]), Number(args[3]), args[4]!);
else await hold(args[0]!, Number(args[1]), Number(args[2]));
