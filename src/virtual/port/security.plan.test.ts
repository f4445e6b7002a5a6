/** What a transaction may say about port security. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from './rules.ts';
import { PortSchema } from './port.ts';

const id = '00000002-0000-4000-8000-000000000001';
const bridge = '00000001-0000-4000-8000-000000000001';
const addresses = [{ mac: '02:00:00:00:00:01', ip: '10.0.0.1' }];
const view = { get: () => undefined, list: () => [], referrers: () => [] };
const faults = (fields: object): string[] => {
  const read = PortSchema.safeParse({ id, name: 'p', type: 'bridge', bridge, ...fields });
  if (!read.success)
    return read.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  return check({ ...read.data, revision: 1 } as never, view).map((f) => `${f.path}: ${f.message}`);
};

test('it needs addresses, and a port of a workload', () => {
  assert.deepEqual(faults({ security: 'on', addresses }), []);
  assert.deepEqual(faults({ security: 'on' }), [
    'addresses: must not be empty while security is on',
  ]);
  assert.deepEqual(faults({ security: 'on', addresses, peer: id.replace('1', '2') }), [
    'security: cannot be on at a port linked to another device',
  ]);
});

test('allowed addresses are addresses or prefixes, each once, in one form', () => {
  const allowed = (...list: readonly object[]) => faults({ addresses, allowedAddresses: list });
  assert.deepEqual(allowed({ ip: '10.0.0.0/24' }, { ip: '::/0', mac: '02:00:00:00:00:09' }), []);
  assert.deepEqual(allowed({ ip: '10.0.0.5' }, { ip: '10.0.0.5/32' }), [
    'allowedAddresses.1: is given twice',
  ]);
  assert.deepEqual(allowed({ ip: '10.0.0.5/24' }), [
    'allowedAddresses.0.ip: has bits behind its length: did you mean 10.0.0.0/24?',
  ]);
  assert.deepEqual(allowed({ ip: 'ff02::1' }), [
    'allowedAddresses.0.ip: must be a unicast address',
  ]);
});
