/**
 * `mn doctor` on a lab: nothing is found while all is well; then a link of the underlay gets
 * narrower, a firewall drops the tunnel and a port is bound to an interface that is not there, and
 * each is found, with a remedy. Metrics, logs, levels and a support bundle of real agents besides.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { EXIT } from '#cli/io.ts';
import { unpack } from '#cli/bundle/tar.ts';
import type { Finding } from '#client/health-asks.ts';
import { cleanLab } from '#lab/clean.ts';
import { announce, type Lab, makeLab, namespaceOf, shellEnvironment } from '#lab/lab.ts';
import { labDir, machinesOf, UNDERLAY_INTERFACE, UNDERLAY_PART } from '#lab/names.ts';
import { until } from '#lab/processes.ts';
import { readRecipe } from '#lab/recipe.ts';
import { have, run, runOk } from '#os/run.ts';
import { METRICS } from '#telemetry/metrics.ts';
import { parseMetrics, secretPart } from '#telemetry/testing.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const program = new URL('../src/mn.ts', import.meta.url).pathname;
const DEADLINE_MS = 20_000;
const folder = mkdtempSync(join(tmpdir(), 'mn-doctor-'));
let lab: Lab;

before(async () => {
  if (skip !== false) return;
  await sweepLabs();
  lab = await makeLab(announce(testLabName('doctor'), readRecipe('pair')), () => {});
});
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  if (skip === false) await cleanLab(lab.name);
});

const mn = (...words: readonly string[]) =>
  run(process.execPath, [program, ...words], { env: shellEnvironment(lab) });
async function doctor(): Promise<{ readonly code: number; readonly findings: Finding[] }> {
  const { code, stdout } = await mn('doctor', '-o', 'json');
  const { findings } = JSON.parse(stdout) as { readonly findings: Finding[] };
  return { code, findings };
}
/** The first finding of a check about a host, as soon as there is one. */
async function found(check: string, host: string): Promise<Finding> {
  let last: readonly Finding[] = [];
  let finding: Finding | undefined;
  await until(`${check} is found`, DEADLINE_MS, async () => {
    last = (await lab.client.doctor()).findings;
    finding = last.find((each) => each.check === check && each.host === host);
    return finding !== undefined;
  }).catch((error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(last)}`, { cause: error });
  });
  assert.ok(finding !== undefined && finding.remedy !== '' && finding.evidence !== '');
  return finding;
}
const inPart = (part: string, ...command: readonly string[]): Promise<string> =>
  runOk('ip', ['netns', 'exec', namespaceOf(lab, part), ...command]);

test('of a lab that is well no error is found, and mn doctor ends with 0', { skip }, async () => {
  const { code, findings } = await doctor();
  assert.deepEqual(
    findings.filter(({ severity }) => severity !== 'info'),
    [],
  );
  assert.equal(code, 0);
});

test('a link of the underlay that got narrower is found by probes', { skip }, async () => {
  const [, second] = machinesOf(lab.recipe).filter(({ part }) => lab.recipe.hosts.includes(part));
  const underlay = namespaceOf(lab, UNDERLAY_PART);
  const mtu = (bytes: number): Promise<string> =>
    runOk('ip', ['-n', underlay, 'link', 'set', second?.cable ?? '', 'mtu', String(bytes)]);
  await mtu(1_400);
  try {
    const finding = await found('mtu', 'h2');
    assert.equal(finding.severity, 'error');
    assert.match(finding.what, /1400 bytes arrive$/);
    assert.match(finding.remedy, /mtu 1400/);
    assert.equal((await doctor()).code, EXIT.unwell);
  } finally {
    await mtu(1_550);
  }
});

/** h2 drops what comes by the tunnel: by nft where it is installed, else by a rule of routing. */
const DROP = ['iif', UNDERLAY_INTERFACE, 'ipproto', 'udp', 'dport', '6677', 'blackhole'];
async function closeFirewall(): Promise<void> {
  if (have('nft')) {
    const chain = 'type filter hook input priority 0; udp dport 6677 drop;';
    await inPart('h2', 'nft', `table inet t { chain input { ${chain} }; }`);
    return;
  }
  const rule = (...words: string[]) => inPart('h2', 'ip', 'rule', ...words);
  await rule('add', 'pref', '100', 'table', 'local');
  await rule('add', 'pref', '10', ...DROP);
  await rule('del', 'pref', '0');
}
async function openFirewall(): Promise<void> {
  if (have('nft')) await inPart('h2', 'nft', 'delete', 'table', 'inet', 't');
  else await inPart('h2', 'ip', 'rule', 'del', 'pref', '10');
}

test('a firewall that drops the tunnel is found, by its rule and by probes', { skip }, async () => {
  await closeFirewall();
  try {
    const tunnel = await found('tunnel', 'h2');
    assert.match(tunnel.what, /^nothing arrives at h2 by the tunnel from h1$/);
    assert.match(tunnel.remedy, /nft list ruleset/);
    if (have('nft')) {
      const finding = await found('firewall', 'h2');
      assert.match(finding.remedy, /^nft delete rule inet t input handle \d+$/);
      await inPart('h2', ...finding.remedy.split(' '));
      const { findings } = await lab.client.doctor();
      assert.deepEqual(
        findings.filter(({ severity }) => severity === 'error'),
        [],
        'it is mended',
      );
    }
  } finally {
    await openFirewall();
  }
});

test('a port on an interface that is not there is found', { skip }, async () => {
  const [port] = await lab.client.listAll('port', { name: 'vm1' });
  const id = port?.id ?? '';
  await lab.client.update('port', id, { interface: 'vm9' });
  try {
    const finding = await found('port-down', 'h1');
    assert.match(finding.evidence, /^there is no interface vm9$/);
    assert.match(finding.remedy, /mn port bind vm1 --host h1/);
    const { stdout } = await mn('doctor');
    assert.match(stdout, /^error {4}h1: port vm1 is down\n {9}there is no interface vm9\n {9}→ /m);
  } finally {
    await lab.client.update('port', id, { interface: 'vm1' });
  }
});

/** What a unix socket answers. */
const socketText = (socketPath: string): Promise<string> =>
  new Promise((resolve, reject) => {
    get({ socketPath, path: '/metrics' }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });

test(
  'metrics of API and agents are read by the operator, and are those of the table',
  { skip },
  async () => {
    const dir = labDir(lab.name);
    const agent = `${dir}/hosts/h1/metrics.sock`;
    assert.equal(statSync(agent).mode & 0o777, 0o600);
    for (const [path, prefix] of [
      [agent, 'mn_agent_'],
      [`${dir}/api.sock`, 'mn_api_'],
    ] as const) {
      const families = parseMetrics(await socketText(path));
      const expected = Object.keys(METRICS).filter((name) => name.startsWith(prefix));
      assert.deepEqual([...families.keys()].toSorted(), expected.toSorted());
    }
    // The port was bound anew a moment ago.
    await until('a port of h1 is up', DEADLINE_MS, async () => {
      const families = parseMetrics(await socketText(agent));
      return (families.get('mn_agent_ports')?.samples[0]?.[1] ?? 0) > 0;
    });
    const enforced = parseMetrics(await socketText(`${dir}/api.sock`)).get(
      'mn_api_enforcement_seconds',
    );
    assert.ok((enforced?.samples.at(-1)?.[1] ?? 0) > 0, 'some enforcement was measured');
  },
);

test('one id leads from the command to the API and to the agents', { skip }, async () => {
  const made = await mn('bridge', 'create', 'traced', '--verbose');
  assert.equal(made.code, 0, made.stderr);
  const [, id = ''] =
    /^POST \/v1\/bridges {2}201 {2}\d+ ms {2}([0-9a-f]{16})$/m.exec(made.stderr) ?? [];
  assert.notEqual(id, '', made.stderr);
  const api = await mn('logs', 'api', '--request', id);
  assert.match(api.stdout, /info {2}request .*request=[0-9a-f]{16} .*method=POST .*status=201/);
  // A bridge without ports is nobody's business; what is on the bridge of vm1 is h1's.
  const bound = await mn('port', 'create', 'further', '--bridge', 'net1', '--verbose');
  assert.equal(bound.code, 0, bound.stderr);
  const [, other = ''] = / 201 .*([0-9a-f]{16})$/m.exec(bound.stderr) ?? [];
  await until('h1 logs it', DEADLINE_MS, async () =>
    (await mn('logs', 'h1', '--request', other)).stdout.includes(' change '),
  );
});

test('the level of an agent changes live, and returns', { skip }, async () => {
  const set = await mn('log-level', 'h1', 'debug', '--for', '1s');
  assert.equal(set.code, 0, set.stderr);
  assert.match(set.stdout, /^Level +debug\nUsually +info\nFor +1\.0 s\n$/);
  await until('it returns', DEADLINE_MS, async () =>
    (await mn('log-level', 'h1')).stdout.startsWith('Level  info'),
  );
});

test('a bundle has the words of all of them, and no secret', { skip }, async () => {
  const file = join(folder, 'b.tar.gz');
  const token = readFileSync(`${labDir(lab.name)}/tokens/h1`, 'utf8').trim();
  // A secret that got into a log nevertheless: the path of a request is told.
  await run('curl', [
    '-s',
    '--unix-socket',
    `${labDir(lab.name)}/api.sock`,
    `http://x/v1/bridges/${token}`,
  ]);
  const made = await mn('support-bundle', '-o', file);
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stdout, /^wrote .*: \d+ files, /);
  const files = unpack(gunzipSync(readFileSync(file)));
  const names = files.map(({ name }) => name);
  for (const name of [
    'manifest.json',
    'status.json',
    'doctor.json',
    'topology.json',
    'hosts/1-h1/stats.json',
    'hosts/2-h2/logs.jsonl',
    'hosts/1-h1/metrics.txt',
    'api/metrics.txt',
  ])
    assert.ok(names.includes(`mn-support/${name}`), names.join('\n'));
  const all = files.map(({ bytes }) => Buffer.from(bytes).toString()).join('\n');
  assert.ok(!all.includes(secretPart(token)), 'the secret of a token');
  assert.equal(statSync(file).mode & 0o777, 0o600);
});
