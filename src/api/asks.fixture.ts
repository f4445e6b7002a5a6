/**
 * For tests: agents played by hand, which hear what they are asked and answer when they are told.
 */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import type { AskEvent } from '#client/asks.ts';
import { BASE, type Fixture } from './fixture.ts';

export const settle = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await setImmediate();
};
/** The agent of a host, by hand: what it was asked, and nothing answered by itself. */
export async function agentOf(node: Fixture, name: string, answers = 'about') {
  const { objects } = await node.operator.create('host', { name });
  const host = objects[0]?.id ?? '';
  const token = { role: 'host', name, host } as const;
  const secret = await node.secret(token);
  const client = await node.as(token);
  const asked: AskEvent[] = [];
  const connect = async (): Promise<AbortController> => {
    const stop = new AbortController();
    const headers = { authorization: `Bearer ${secret}`, 'x-midonet-asks': answers };
    const { body } = await node.api.fetch(new Request(`${BASE}/v1/watch`, { headers }));
    assert.ok(body !== null);
    const reader = body.getReader();
    stop.signal.addEventListener('abort', () => void reader.cancel());
    const decoder = new TextDecoder();
    void (async () => {
      for (let at = await reader.read(); at.done !== true; at = await reader.read())
        for (const [, data] of decoder.decode(at.value).matchAll(/^data: (\{"type":"ask.*)$/gm))
          asked.push(JSON.parse(data ?? '') as AskEvent);
    })();
    await settle();
    return stop;
  };
  return { host, client, asked, connect };
}
