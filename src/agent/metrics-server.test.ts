/** Where an agent's metrics are read: its socket, loopback, and nowhere else. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Logs } from '#telemetry/log.ts';
import { METRICS } from '#telemetry/metrics.ts';
import { parseMetrics } from '#telemetry/testing.ts';
import {
  listenInRunDir,
  listenOnLoopback,
  METRICS_SOCKET,
  parseLoopback,
} from './metrics-server.ts';
import { AgentMeters } from './metrics.ts';

const folder = mkdtempSync(join(tmpdir(), 'mn-metrics-'));
after(() => rmSync(folder, { recursive: true }));
const COUNTERS = {
  ...{ upcalls: 5, flowsInstalled: 4, flowsNow: 3, hits: 90, misses: 5, tunnelHits: 7 },
  ...{ injected: 5, cut: 1, drops: { 'no-port': 2 } },
};
const RECORDS = {
  ...{ connectionsOpened: 6, connectionsEvicted: 1, recordsSent: 12, recordsSentAgain: 2 },
  ...{
    recordsTaken: 8,
    recordsRefused: 0,
    questionsAsked: 0,
    questionsRefused: 0,
    datagramsRefused: 0,
  },
};
function meters(): AgentMeters {
  const made = new AgentMeters('0.1.0', new Logs({ write: () => {} }));
  made.state({
    ...{ revision: 9, portsUp: ['a', 'b'], portsDown: [], locate: [], counters: COUNTERS },
    publicPorts: { wants: [], returns: [] },
    records: RECORDS,
    balanced: { opened: 3, bytesIn: 100, bytesOut: 200 },
    limits: [{ name: 'flows', used: 3, max: 64 }],
    firstPackets: { counts: [0, 2, 1], sumSeconds: 0.0007 },
  });
  made.checked({ succeeded: 7, failed: 1 });
  made.reported(true);
  made.reported(false);
  return made;
}

type Where = { readonly socketPath: string } | { readonly port: number };
const ask = (where: Where, path: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    get({ ...where, path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    }).on('error', reject);
  });

test('the socket tells every metric of the table, to the operator only', async () => {
  const socketPath = join(folder, METRICS_SOCKET);
  writeFileSync(socketPath, 'left behind');
  const listener = await listenInRunDir(meters(), folder);
  try {
    assert.equal(statSync(socketPath).mode & 0o777, 0o600);
    const families = parseMetrics((await ask({ socketPath }, '/metrics')).text);
    const expected = Object.keys(METRICS).filter((name) => name.startsWith('mn_agent_'));
    assert.deepEqual([...families.keys()].toSorted(), expected.toSorted());
    const samples = new Map([...families.values()].flatMap((family) => family.samples));
    assert.equal(samples.get('mn_agent_drops_total{reason="no-port"}'), 2);
    assert.equal(samples.get('mn_agent_ports{state="up"}'), 2);
    assert.equal(samples.get('mn_agent_records_sent_total'), 12);
    assert.equal(samples.get('mn_agent_first_packet_seconds_count'), 3);
    assert.equal(samples.get('mn_agent_limit_max{limit="flows"}'), 64);
    assert.equal(samples.get('mn_agent_reports_failed_total'), 1);
    assert.equal((await ask({ socketPath }, '/other')).status, 404);
  } finally {
    await listener.close();
  }
});

test('by TCP it is read on loopback only', async () => {
  for (const text of [
    '0.0.0.0:9100',
    '10.0.0.1:9100',
    '[::]:9100',
    '127.0.0.1',
    '127.0.0.1:70000',
    'x',
  ])
    assert.throws(() => parseLoopback(text), /must be an address of loopback/, text);
  assert.deepEqual(parseLoopback('[::1]:9100'), { host: '::1', port: 9_100 });
  assert.deepEqual(parseLoopback('127.0.0.53:0'), { host: '127.0.0.53', port: 0 });
  const listener = await listenOnLoopback(meters(), parseLoopback('127.0.0.1:0'));
  try {
    const port = Number(new URL(listener.at).port);
    assert.match((await ask({ port }, '/metrics')).text, /^mn_agent_revision 9$/m);
  } finally {
    await listener.close();
  }
});
