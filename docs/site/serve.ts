/**
 * Shows the built site on loopback: files of one folder, and nothing else. VitePress can serve it
 * too, but to everybody who reaches this machine.
 */
import { createReadStream, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { extname, join, normalize } from 'node:path';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.woff2': 'font/woff2',
};

const isFile = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isFile() === true;

/** The file of the folder that an address names; undefined: there is none. */
export function fileOf(folder: string, url: string): string | undefined {
  let path: string;
  try {
    // Rooted first, so that `..` leads nowhere but to the root.
    path = normalize(`/${decodeURIComponent(new URL(url, 'http://site').pathname)}`);
  } catch {
    return undefined;
  }
  const named = join(folder, path.endsWith('/') ? `${path}index.html` : path);
  return [named, `${named}.html`].find(isFile);
}

/** Resolves when it listens; the port is 0 for any. */
export async function serve(folder: string, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const file = fileOf(folder, request.url ?? '/');
    const shown = file ?? join(folder, '404.html');
    const type = TYPES[extname(shown)] ?? 'application/octet-stream';
    response.writeHead(file === undefined ? 404 : 200, { 'content-type': type });
    createReadStream(shown)
      .on('error', () => response.destroy())
      .pipe(response);
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(port, '127.0.0.1', resolve);
  await promise;
  return server;
}
