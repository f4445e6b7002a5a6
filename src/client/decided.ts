/**
 * What an agent decides about a frame that is not sent, and which interfaces its host has: what the
 * API asks for traces by a host, and for what-if.
 *
 * Invariant: ids and numbers only, as the walk gives them; names, and what of it a reader may know,
 * are the API's to say.
 */
import { z } from 'zod';
import { DROPS, type DropReason } from '#virtual/drop.ts';
import { FIELDS } from '#virtual/match.ts';
import { NOTES_MAX, ROUTE_CHOICES, type RouteChoice } from '#virtual/observe.ts';

const FRAME_BYTES_MAX = 65_535;
const STEPS_MAX = 2_000;
const ROUTES_MAX = 20_000;
const COPIES_MAX = 1_024;
/** Interfaces that one question may name. */
export const INTERFACES_PER_ASK_MAX = 4_096;

const id = z.string().max(100);
const text = z.string().max(1_000);
const count = z.int().min(0);
const vlan = z.int().min(0).max(0x1fff);
const reason = z.enum(Object.keys(DROPS) as [DropReason, ...DropReason[]]);
const mac = z
  .int()
  .min(0)
  .max(2 ** 48 - 1);
const ip = z.union([z.int().min(0).max(0xffff_ffff), z.string().regex(/^[0-9a-f]{32}$/)]);
const frame = z
  .string()
  .regex(/^([0-9a-f]{2})+$/)
  .max(2 * FRAME_BYTES_MAX);
const at = z.object({ kind: z.enum(['port', 'bridge', 'router', 'chain']), id });
const field = z.enum(FIELDS);

const Verdict = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('forward'),
    to: z
      .array(
        z.union([
          z.object({ port: id, vlan: vlan.optional() }),
          z.object({
            flood: id,
            except: id.optional(),
            here: z.literal(true).optional(),
            not: z.array(id).max(COPIES_MAX).optional(),
            vlan: vlan.optional(),
          }),
        ]),
      )
      .max(COPIES_MAX),
    cut: count.optional(),
  }),
  z.object({ kind: z.literal('answer') }),
  z.object({ kind: z.literal('collect') }),
  z.object({ kind: z.literal('drop'), reason }),
  z.object({ kind: z.literal('wait'), port: id, ip }),
  z.object({ kind: z.literal('want-ports'), router: id, address: ip, first: count, last: count }),
]);

const Route = z.object({
  id: text,
  name: text.optional(),
  kind: z.enum(['connected', 'port', 'local', 'blackhole', 'reject']),
  destination: text,
  source: text.optional(),
  gateway: text.optional(),
  weight: count,
  choice: z.enum(Object.keys(ROUTE_CHOICES) as [RouteChoice, ...RouteChoice[]]),
});
const step = count;
const Note = z.discriminatedUnion('kind', [
  z.object({ step, kind: z.literal('read'), field, value: text }),
  z.object({ step, kind: z.literal('payload') }),
  z.object({ step, kind: z.literal('write'), field, before: text, after: text }),
  z.object({
    step,
    kind: z.literal('ask'),
    at,
    about: text,
    found: text.optional(),
    place: id.optional(),
  }),
  z.object({ step, kind: z.literal('rule'), at, rule: text, because: text.optional() }),
  z.object({ step, kind: z.literal('size'), mtu: count, fits: z.boolean() }),
  z.object({ step, kind: z.literal('routes'), at, routes: z.array(Route).max(ROUTES_MAX) }),
]);
const Copy = z.union([
  z.object({ host: id, port: id, interface: text.optional(), vlan: vlan.optional() }),
  z.object({ host: id, flood: id, vlan: vlan.optional() }),
]);

export const DecideAsk = z.strictObject({
  kind: z.literal('decide'),
  /** Where the frame enters. */
  port: id,
  frame,
});
export const DecidePart = z.object({
  /** The revision in force. */
  revision: z.int().min(-1),
  steps: z.array(z.object({ at, did: text, detail: text.optional() })).max(STEPS_MAX),
  verdict: Verdict,
  rewrites: z.object({
    ethSrc: mac.optional(),
    ethDst: mac.optional(),
    ipSrc: ip.optional(),
    ipDst: ip.optional(),
    tpSrc: z.int().min(0).max(65_535).optional(),
    tpDst: z.int().min(0).max(65_535).optional(),
  }),
  guards: z.object({ decTtl: count, mtu: count.optional() }),
  fields: z.array(field),
  cacheable: z.boolean(),
  sends: z.array(z.object({ port: id, frame, cut: count.optional() })).max(COPIES_MAX),
  notes: z.array(Note).max(NOTES_MAX),
  notesLeftOut: count,
  /** Where this host sends the copies; absent: its port does not enter here. */
  placed: z.object({ drop: reason.optional(), copies: z.array(Copy).max(COPIES_MAX) }).optional(),
});
export type DecidePart = z.output<typeof DecidePart>;

export const InterfacesAsk = z.strictObject({
  kind: z.literal('interfaces'),
  names: z.array(id).max(INTERFACES_PER_ASK_MAX),
});
/** One for each name that is an interface which a port may take. */
export const InterfacePart = z.object({ name: id });
