/** What hosts are told of learned MACs: every host ends with the store's last word. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Client, LearnedMac, WatchEvent } from '#client/types.ts';
import { openNode, type Fixture } from './fixture.ts';
import { LEARNED_PER_PORT_MAX } from './learned.ts';

type LearnedEvent = Extract<WatchEvent, { type: 'learned' }>;
const MAC = '02:00:00:00:00:aa';

/** What a host holds that applies the events it is told; `reach` reads on until it is so. */
class Holder {
  readonly macs = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #events: AsyncIterator<WatchEvent>;

  constructor(client: Client) {
    this.#events = client.watch({ signal: this.#stop.signal })[Symbol.asyncIterator]();
  }
  async reach(enough: (macs: ReadonlyMap<string, string>) => boolean): Promise<void> {
    for (let heard = false; !heard || !enough(this.macs);) {
      const { value } = (await this.#events.next()) as { value: WatchEvent };
      if (value.type !== 'learned') continue;
      heard = true;
      this.#apply(value);
    }
  }
  #apply({ all, put, forget }: LearnedEvent): void {
    if (all) this.macs.clear();
    for (const { mac, port } of put) this.macs.set(mac, port);
    for (const { mac, port } of forget) if (this.macs.get(mac) === port) this.macs.delete(mac);
  }
  /** Ends the stream, so that nothing of it waits on. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#events.return?.();
  }
}

/** Two hosts, each with a port of one bridge. */
async function pair(node: Fixture) {
  await node.operator.create('bridge', { name: 'b' });
  const bridge = (await node.operator.get('bridge', 'b')).id;
  const host = async (name: string) => {
    await node.operator.create('host', { name });
    const body = { name: `p-${name}`, bridge: 'b', host: name, interface: 'e' };
    const port = (await node.operator.create('port', body)).objects[0]?.id ?? '';
    const client = await node.as({ role: 'host', name, host: name });
    await client.locate(port, { interface: 'e' });
    const row = (mac = MAC): LearnedMac => ({ bridge, vlan: 0, mac, port });
    return { client, port, row, holder: new Holder(client) };
  };
  return [await host('h1'), await host('h2')] as const;
}

test('of two hosts that claim one MAC, both are told who had the last word', async () => {
  await using node = openNode();
  const [a, b] = await pair(node);
  await Promise.all([a, b].map(({ holder }) => holder.reach(() => true)));
  await a.client.learn([a.row()], []);
  await b.client.learn([b.row()], []);
  for (const { holder } of [a, b]) {
    await holder.reach((macs) => macs.get(MAC) === b.port);
    await holder.stop();
  }
});

test('a host that leaves a bridge forgets what was learned there', async () => {
  await using node = openNode();
  const [a, b] = await pair(node);
  await a.client.learn([a.row()], []);
  await b.holder.reach((macs) => macs.get(MAC) === a.port);
  await node.operator.update('port', 'p-h2', { host: null, interface: null });
  await b.holder.reach((macs) => macs.size === 0);
  await node.operator.update('port', 'p-h2', { host: 'h2', interface: 'e' });
  await b.holder.reach((macs) => macs.get(MAC) === a.port);
  await a.holder.stop();
  await b.holder.stop();
});

test('a port may teach so many MACs and no more', async () => {
  await using node = openNode();
  const [a, b] = await pair(node);
  const many = (count: number, first: number): LearnedMac[] =>
    Array.from({ length: count }, (_, i) => {
      const tail = (first + i).toString(16).padStart(4, '0').replace(/^../, '$&:');
      return a.row(`02:00:00:00:${tail}`);
    });
  await assert.rejects(
    a.client.learn(many(LEARNED_PER_PORT_MAX + 1, 0), []),
    /put\.2048\.mac: is one too many: a port may teach at most 2048/,
  );
  await a.client.learn(many(LEARNED_PER_PORT_MAX, 0), []);
  await a.client.learn(many(LEARNED_PER_PORT_MAX, 0), []);
  await assert.rejects(a.client.learn(many(1, LEARNED_PER_PORT_MAX), []), /is one too many/);
  await b.client.learn([b.row(many(1, 0)[0]?.mac)], []);
  await a.holder.reach((macs) => [...macs.values()].includes(b.port));
  await a.client.learn(many(1, LEARNED_PER_PORT_MAX), []);
  await a.holder.stop();
  await b.holder.stop();
});
