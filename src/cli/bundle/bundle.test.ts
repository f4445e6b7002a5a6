/** Support bundles: no secret leaves, names go on request, and the manifest says what is in it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Anonymous } from './anonymise.ts';
import { bundle, type Manifest } from './bundle.ts';
import { collect, FILE_CHARACTERS_MAX } from './collect.ts';
import { redact, secretsOf } from './redact.ts';
import { pack, unpack } from './tar.ts';

const SECRET = 's'.repeat(43);
const TOKEN = `mn_0123456789abcdef_${SECRET}`;
const OPTIONS = { secrets: [], anonymise: false, version: '0.1.0', timeMs: 1_764_000_000_000 };

/** Every way in which a secret may have come into something that is collected. */
const PLANTED: readonly (readonly [string, string])[] = [
  ['api/logs.jsonl', `{"msg":"request","header":"Authorization: Bearer ${TOKEN}"}\n`],
  ['hosts/1-h1/logs.jsonl', `{"err":"GET /v1/bridges/${TOKEN}: 404"}\n`],
  ['status.json', '{"note":"bearer hunter2.hunter2"}'],
  ['topology.json', '{"port":[{"name":"p","password":"hunter2hunter2","secret":"hunter2-s"}]}'],
  ['doctor.json', '[{"evidence":"MN_TOKEN=hunter2hunter2 mn status; DB_PASSWORD=hunter2x"}]'],
  ['hosts/1-h1/stats.json', '"{\\"token_secret\\":\\"hunter2hunter2\\"}"'],
  ['api/metrics.txt', 'x{who="correct horse battery"} 1\n'],
];

test('no planted secret is in a bundle', () => {
  const collected = PLANTED.map(([name, text]) => ({ name, text, note: `failed with ${TOKEN}` }));
  const secrets = ['correct horse battery'];
  for (const anonymise of [false, true]) {
    const { bytes } = bundle(collected, { ...OPTIONS, secrets, anonymise });
    const all = gunzipSync(bytes).toString();
    for (const secret of [SECRET, 'hunter2', 'correct horse'])
      assert.ok(!all.includes(secret), `${secret}: ${all.slice(all.indexOf(secret) - 80)}`);
    assert.ok(all.includes('mn_0123456789abcdef_…'), 'whose token it was is told');
  }
});

test('secrets of an environment are those of variables that hold them', () => {
  const environment = {
    MN_TOKEN: TOKEN,
    MN_TOKEN_FILE: '/run/token',
    HOME: '/root',
    MY_API_KEY: 'abcdef',
  };
  assert.deepEqual(secretsOf(environment), [TOKEN, 'abcdef']);
  assert.equal(redact('{"name":"x","hash":"abc"}', []), '{"name":"x","hash":"…"}');
  const plain = '{"tokens":3,"checksum":"abc","msg":"a b"}';
  assert.equal(redact(plain, []), plain, 'nothing else is touched');
});

test('the manifest has the sum of every file, and why one lacks', async () => {
  const collected = await collect([
    { name: 'status.json', load: async () => '{}\n' },
    { name: 'api/metrics.txt', load: () => Promise.reject(new Error('Not allowed')) },
    { name: 'long.txt', load: async () => 'x'.repeat(FILE_CHARACTERS_MAX + 5) },
  ]);
  const { bytes, manifest } = bundle(collected, OPTIONS);
  const files = unpack(gunzipSync(bytes));
  const told = JSON.parse(Buffer.from(files[0]?.bytes ?? []).toString()) as Manifest;
  assert.deepEqual(told, JSON.parse(JSON.stringify(manifest)));
  for (const [i, { name, bytes: size, sha256 }] of manifest.files.entries()) {
    const file = files[i + 1];
    assert.ok(file !== undefined && file.name === name && file.bytes.length === size);
    assert.equal(createHash('sha256').update(file.bytes).digest('hex'), sha256);
  }
  assert.deepEqual(
    manifest.files.map(({ note }) => note),
    [undefined, 'Not allowed', '5 characters more were left out'],
  );
});

test('an archive is one for tar, too', () => {
  const files = [
    { name: 'a/empty', bytes: new Uint8Array(0) },
    { name: 'a/block', bytes: new Uint8Array(512).fill(7) },
    { name: 'a/text', bytes: Buffer.from('ä\n') },
  ];
  const archive = pack(files, OPTIONS.timeMs);
  assert.deepEqual(
    unpack(archive).map(({ name, bytes }) => [name, [...bytes]]),
    files.map(({ name, bytes }) => [name, [...bytes]]),
  );
  const listed = execFileSync('tar', ['-tvf', '-'], { input: archive, encoding: 'utf8' });
  assert.match(listed, /^-rw------- 0\/0 +512 .* a\/block$/m);
  assert.equal(
    execFileSync('tar', ['-xOf', '-', 'a/text'], { input: archive, encoding: 'utf8' }),
    'ä\n',
  );
  assert.throws(() => pack([{ name: 'x'.repeat(101), bytes: new Uint8Array(0) }], 0), /too long/);
  archive[0] = 0x62;
  assert.throws(() => unpack(archive), /wrong sum/);
});

const NETWORK = JSON.stringify(
  {
    host: [
      {
        id: '11111111-1111-4111-8111-111111111111',
        name: 'compute7',
        labels: ['customer=initech'],
      },
    ],
    bridge: [{ name: 'acme-web', tenant: 'acme' }],
    port: [
      {
        name: 'vm1',
        bridge: '22222222-2222-4222-8222-222222222222',
        interface: 'tap-acme',
        addresses: [
          { mac: '02:ac:de:00:00:01', ip: '10.20.30.4' },
          { mac: '02:ac:de:00:00:01', ip: 'fd12:3456::4' },
        ],
      },
    ],
    route: [
      { destination: '0.0.0.0/0', gateway: '10.20.30.254' },
      { destination: '10.20.30.0/24' },
    ],
  },
  null,
  2,
);
const LOG =
  '{"time":"2026-11-26T06:31:07.123Z","msg":"port vm1 of acme-web: 02:AC:DE:00:00:01 asks 10.20.30.4, ff:ff:ff:ff:ff:ff"}\n' +
  '{"msg":"compute7: dst fd12:3456::4 by tap-acme at 06:31:07, vm11 is another"}\n';

test('names and addresses are replaced alike everywhere, and others by others', () => {
  const collected = [
    { name: 'topology.json', text: NETWORK },
    { name: 'hosts/1-compute7/logs.jsonl', text: LOG },
  ];
  const { bytes } = bundle(collected, { ...OPTIONS, anonymise: true });
  const files = unpack(gunzipSync(bytes));
  const all = files.map((file) => `${file.name}\n${Buffer.from(file.bytes).toString()}`).join('\n');
  for (const gone of [
    'acme',
    'compute7',
    'initech',
    'customer',
    '"vm1"',
    '10.20.30',
    '02:ac:de',
    'fd12',
  ])
    assert.ok(!all.toLowerCase().includes(gone), `${gone}: ${all}`);
  const [, log] = files.slice(1).map((file) => Buffer.from(file.bytes).toString());
  assert.match(
    log ?? '',
    /port port-1 of bridge-1: 02:00:00:00:00:01 asks 198\.18\.0\.\d+, ff:ff:ff:ff:ff:ff/,
  );
  assert.match(log ?? '', /"time":"2026-11-26T06:31:07\.123Z"/);
  assert.match(log ?? '', /host-1: dst 2001:db8::0:1 by interface-1 at 06:31:07, vm11 is another/);
  const topology = JSON.parse(Buffer.from(files[1]?.bytes ?? []).toString()) as Record<
    string,
    Record<string, unknown>[]
  >;
  assert.deepEqual(Object.keys(topology), ['host', 'bridge', 'port', 'route']);
  assert.equal(topology['route']?.[0]?.['destination'], '0.0.0.0/0');
  assert.match(String(topology['route']?.[1]?.['destination']), /^198\.18\.0\.\d+\/24$/);
});

test('two that differ stay different', () => {
  const anonymous = new Anonymous();
  const replaced = Array.from({ length: 300 }, (_, i) =>
    anonymous.text(`10.1.${i >> 8}.${i & 255}`),
  );
  assert.equal(new Set(replaced).size, 300);
  assert.equal(anonymous.text('10.1.0.7 10.1.0.7'), `${replaced[7]} ${replaced[7]}`);
});
