/**
 * A host says that a port is up there. It may say so only of ports bound to it, and only of the
 * interface they are bound to; the key that reaches the port is the server's to give, and stays
 * while the host stays.
 */
import type { StoredObject } from '../kind.ts';
import { LOCATION_MTU_MAX, LOCATION_MTU_MIN, locationKind } from '../location/location.ts';
import type { ObjectOf } from '../kinds.ts';
import { resolve, type Body, type Operation, type Work } from './work.ts';

const FIELDS = Object.keys(locationKind.schema.shape);

/** Creating and updating are the same: the id is the port's. Undefined when there are faults. */
export function locate(work: Work, operation: Operation): StoredObject | undefined {
  const { draft, faults, context } = work;
  const { caller } = context;
  if (caller.role !== 'host') throw new Error('plan: only hosts locate ports');
  if (operation.op === 'delete') {
    faults.add(403, '', 'a location lasts until its port is bound elsewhere or deleted');
    return undefined;
  }
  const port = portOf(work, operation);
  if (port === undefined) return undefined;
  const known = draft.get('location', port.id) as ObjectOf<'location'> | undefined;
  if (operation.op === 'update' && operation.ifRevision !== undefined)
    if (known?.revision !== operation.ifRevision)
      faults.add(412, '', `is at revision ${known?.revision ?? 0}, not ${operation.ifRevision}`);
  const stays = known?.host === caller.host ? known : undefined;
  const { port: asked, ...body } = operation.body;
  if (operation.op === 'update' && asked !== undefined && asked !== port.id)
    faults.add(400, 'port', 'is given by the server');
  checkFields(work, body, { ...stays, id: port.id, host: caller.host });
  checkInterface(work, operation.body['interface'], port);
  const up = operation.body['up'] ?? true;
  if (typeof up !== 'boolean') faults.add(400, 'up', 'must be true or false');
  const mtu = locationKind.schema.shape.mtu.safeParse(operation.body['mtu']);
  if (!mtu.success)
    faults.add(
      400,
      'mtu',
      `must be a whole number from ${LOCATION_MTU_MIN} to ${LOCATION_MTU_MAX}`,
    );
  if (faults.count > 0) return undefined;
  const fields = {
    id: port.id,
    port: port.id,
    host: caller.host,
    interface: port.interface,
    up,
    ...(mtu.data !== undefined && { mtu: mtu.data }),
    tunnelKey: stays?.tunnelKey ?? context.nextTunnelKey(caller.host),
  };
  const parsed = locationKind.schema.parse(fields);
  const location: StoredObject = { ...parsed, revision: known?.revision ?? 0 };
  draft.put('location', location, faults.operation);
  return location;
}

function portOf(work: Work, operation: Exclude<Operation, { op: 'delete' }>) {
  const { draft, faults, context } = work;
  const given =
    operation.op === 'update' ? operation.id : (operation.body['port'] ?? operation.body['id']);
  if (typeof given !== 'string') {
    faults.add(400, 'port', 'is required');
    return undefined;
  }
  const found = resolve(work, 'port', given);
  if ('id' in found) return draft.get('port', found.id) as ObjectOf<'port'>;
  if (draft.get('port', given.toLowerCase()) === undefined)
    faults.add(found.status, operation.op === 'update' ? '' : 'port', found.fault);
  else if (context.caller.role === 'host')
    faults.add(403, '', `port ${given} is not bound to this host`);
  return undefined;
}

/** What the server gives may be repeated, not changed. */
function checkFields({ faults }: Work, body: Body, as: Body): void {
  for (const [field, value] of Object.entries(body)) {
    if (field === 'interface' || field === 'up' || field === 'mtu') continue;
    if (!FIELDS.includes(field) && field !== 'revision')
      faults.add(400, field, 'is not a field of a location');
    else if (value !== as[field]) faults.add(400, field, 'is given by the server');
  }
}

function checkInterface({ faults }: Work, value: unknown, port: ObjectOf<'port'>): void {
  if (typeof value !== 'string') faults.add(400, 'interface', 'is required');
  else if (value !== port.interface)
    faults.add(409, 'interface', `must be ${port.interface}, which port ${port.name} is bound to`);
}
