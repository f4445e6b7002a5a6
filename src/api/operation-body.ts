/**
 * How operations are said over HTTP: one schema for what is carried out and for what is only tried.
 * What they mean, and whether they may be, is `plan`'s to say.
 */
import { z } from 'zod';
import { KIND_NAMES } from '#virtual/kind.ts';

const body = z.record(z.string(), z.unknown());
const kind = z.enum(KIND_NAMES);
const id = z.string().min(1, 'must be an id or a unique name');
const ifRevision = z.int().min(0).optional();
const operation = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('create'), kind, body }),
  z.strictObject({ op: z.literal('update'), kind, id, body, ifRevision }),
  z.strictObject({ op: z.literal('delete'), kind, id, ifRevision }),
]);

/** One operation, and no more than `most`. */
export const operationsBody = (most: number) =>
  z
    .array(operation)
    .min(1, 'must hold an operation')
    .max(most, `must hold at most ${most} operations`);
