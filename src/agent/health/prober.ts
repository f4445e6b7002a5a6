/**
 * One check of a member, from inside a namespace: TCP, HTTP, HTTPS, UDP, ping.
 *
 * Sockets are made in the namespace in which their thread is, so a thread goes there for as long as
 * it takes to make one. Invariants: whatever comes, a check ends by its timeout, and nothing of it
 * is left; no more of an answer is read than is looked at; what a member says is not trusted, and
 * its certificate is not looked at, for members are known by where they are.
 */
import { createSocket } from 'node:dgram';
import { request as httpRequest } from 'node:http';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { addWords, fold } from '#net/checksum.ts';
import { isIp6, parseIp, writeIp4, writeIp6 } from '#net/ip.ts';
import { IcmpSocket } from '#os/icmp-socket.ts';
import { onReadable } from '#os/libc.ts';
import type { Checked } from '#virtual/health-monitor/verdict.ts';
import type { Check, Monitor } from './duties.ts';

/** Bytes of an answer that a text is looked for in. */
const BODY_BYTES_MAX = 16_384;

/** Runs what makes a socket in the namespace of a check, until the socket is made. */
export type Inside = <T>(check: Check, begin: () => Promise<T> | T) => Promise<T>;

const failed = (reason: string): Checked => ({ ok: false, reason });
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EPIPE: 'connection closed',
};
function wordsOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return WORDS[code ?? ''] ?? code ?? message;
}

/** Socket calls of Node are made in the next turn; a further one is behind them. */
const made = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** Ends with what happens first, and by the deadline. */
function ending(timeout: number): {
  readonly promise: Promise<Checked>;
  readonly end: (checked: Checked) => void;
} {
  const { promise, resolve } = Promise.withResolvers<Checked>();
  const timer = setTimeout(() => resolve(failed(`no answer within ${timeout} s`)), timeout * 1_000);
  void promise.then(() => clearTimeout(timer));
  return { promise, end: resolve };
}

async function tcp(check: Check, inside: Inside): Promise<Checked> {
  const { promise, end } = ending(check.monitor.timeout);
  const socket = await open(check, inside, (made) => {
    made.once('connect', () => end({ ok: true, reason: 'connection open' }));
    made.on('error', (error) => end(failed(wordsOf(error))));
  });
  const found = await promise;
  socket.destroy();
  return found;
}
/** `listen`: to what comes of it, which may come at once. */
const open = (check: Check, inside: Inside, listen: (socket: Socket) => void): Promise<Socket> =>
  inside(check, async () => {
    const socket = connectTcp({ host: check.address, port: check.port });
    listen(socket);
    await made();
    return socket;
  });

/** Whether a status is one of `200,204,300-399`. */
export function isExpected(status: number, codes: string): boolean {
  return codes.split(',').some((part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return first <= status && status <= last;
  });
}

function judge({ codes = '200', body }: Monitor, status: number, text: string): Checked {
  if (!isExpected(status, codes)) return failed(`status ${status}, not ${codes}`);
  if (body !== undefined && !text.includes(body))
    return failed(`status ${status}, without ${JSON.stringify(body)}`);
  return { ok: true, reason: `status ${status}` };
}

async function http(check: Check, inside: Inside): Promise<Checked> {
  const { monitor, address, port } = check;
  const { promise, end } = ending(monitor.timeout);
  const fail = (error: unknown): void => end(failed(wordsOf(error)));
  const socket = await open(check, inside, (made) => void made.on('error', fail));
  const host = monitor.hostName ?? (address.includes(':') ? `[${address}]` : address);
  const secure = monitor.type === 'https';
  const name = monitor.hostName === undefined ? {} : { servername: monitor.hostName };
  const stream = secure ? connectTls({ socket, rejectUnauthorized: false, ...name }) : socket;
  stream.on('error', fail);
  const usual = port === (secure ? 443 : 80) ? host : `${host}:${port}`;
  const request = httpRequest({
    createConnection: () => stream,
    method: monitor.method ?? 'GET',
    path: monitor.path ?? '/',
    headers: { host: usual, connection: 'close', 'user-agent': 'midonet-health' },
  });
  request.on('error', fail);
  request.on('response', (response) => {
    let text = '';
    const done = (): void => end(judge(monitor, response.statusCode ?? 0, text));
    response.setEncoding('latin1');
    response.on('error', fail);
    response.on('data', (more: string) => {
      text = (text + more).slice(0, BODY_BYTES_MAX);
      if (monitor.body === undefined || text.length === BODY_BYTES_MAX) done();
    });
    response.on('end', done);
  });
  request.end();
  const found = await promise;
  request.destroy();
  socket.destroy();
  return found;
}

async function udp(check: Check, inside: Inside): Promise<Checked> {
  const { address, port, monitor } = check;
  const { promise, end } = ending(monitor.timeout);
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', (error) => end(failed(wordsOf(error))));
  socket.on('message', () => end({ ok: true, reason: 'an answer' }));
  await inside(check, async () => {
    const { promise: connected, resolve } = Promise.withResolvers<void>();
    socket.once('error', () => resolve());
    socket.connect(port, address, () => resolve());
    await connected;
  });
  socket.send('\n', (error) => error && end(failed(wordsOf(error))));
  const found = await promise;
  try {
    socket.close();
  } catch {
    // It failed before it was one.
  }
  // Nobody has to answer what he does not understand: only who says that nobody listens is down.
  const silent = !found.ok && found.reason.startsWith('no answer');
  return silent ? { ok: true, reason: 'not refused' } : found;
}

const ECHO = { request: 8, reply: 0 } as const;
const ECHO6 = { request: 128, reply: 129 } as const;
let lastEcho = 0;

async function ping(check: Check, inside: Inside): Promise<Checked> {
  const ip = parseIp(check.address);
  if (ip === undefined) return failed('no address');
  const six = isIp6(ip);
  const to = new Uint8Array(six ? 16 : 4);
  if (isIp6(ip)) writeIp6(to, 0, ip);
  else writeIp4(to, 0, ip);
  const { request, reply } = six ? ECHO6 : ECHO;
  lastEcho = (lastEcho + 1) & 0xffff;
  const [id, sequence] = [process.pid & 0xffff, lastEcho];
  const message = Uint8Array.of(request, 0, 0, 0, id >> 8, id & 255, sequence >> 8, sequence & 255);
  const sum = six ? 0 : ~fold(addWords(0, message, 0, message.length)) & 0xffff;
  message.set([sum >> 8, sum & 255], 2);
  const { promise, end } = ending(check.monitor.timeout);
  using socket = await inside(check, () => new IcmpSocket(to));
  using _poll = onReadable(socket.fd, () => {
    for (let got = socket.receive(); got !== undefined; got = socket.receive()) {
      const same = got[4] === message[4] && got[5] === message[5];
      if (got[0] === reply && same && got[6] === message[6] && got[7] === message[7])
        end({ ok: true, reason: 'an echo' });
    }
  });
  socket.send(message);
  return await promise;
}

const WAYS = { tcp, http, https: http, udp, ping } as const;

/** Checks from the namespace into which `inside` goes. */
export const probeBy =
  (inside: Inside) =>
  async (check: Check): Promise<Checked> => {
    try {
      return await WAYS[check.monitor.type](check, inside);
    } catch (error) {
      return failed(wordsOf(error));
    }
  };
