/**
 * A rule of a chain: its schema, its words, its references. Data only; the web may import it.
 *
 * The fields of its condition are rows of `condition.ts`, flat on the rule.
 */
import { z } from 'zod';
import { id, labels, name, objectName } from '../fields.ts';
import type { Kind } from '../kind.ts';
import { check } from './check.ts';
import { CONDITION, CONDITION_FIELDS, FRAGMENTS } from './condition.ts';
import { NAT_ACTIONS, NAT_AFTER, targets } from './nat.ts';

/** The largest position. */
export const POSITION_MAX = 1_000_000;
/** A rule that is given no position goes so far behind the last one, to leave room between. */
export const POSITION_STEP = 100;

export const ACTIONS = [
  'accept',
  'drop',
  'reject',
  'return',
  'jump',
  'continue',
  ...NAT_ACTIONS,
] as const;

const condition = Object.fromEntries(
  CONDITION_FIELDS.map((field) => {
    const { schema } = CONDITION[field];
    return [field, schema.optional().describe(schema.description ?? '')];
  }),
) as { readonly [F in keyof typeof CONDITION]: z.ZodOptional<(typeof CONDITION)[F]['schema']> };

export const Rule = z
  .strictObject({
    id: id('rule'),
    name: objectName.optional().describe('A name, if it is to have one.'),
    tenant: name.optional().describe('The tenant that owns it: that of its chain.'),
    labels,
    chain: id('chain').describe('The chain it is in.'),
    position: z
      .int()
      .min(1)
      .max(POSITION_MAX)
      .optional()
      .describe(
        `Where in the chain: the lowest is asked first. Without: ${POSITION_STEP} behind the last.`,
      ),
    action: z
      .enum(ACTIONS)
      .describe(
        'accept, drop; reject: drop, and tell the sender; return: leave this chain; jump: ask another chain first; continue: go on, and count; snat, dnat: another source or destination for who opens a connection; reverse-snat, reverse-dnat: undo that in answers.',
      ),
    jump: id('chain').optional().describe('The chain that a rule with action jump asks.'),
    targets: targets
      .optional()
      .describe(
        'Where snat and dnat lead: addresses, ranges of them, and ports; of a static rule one address or prefix.',
      ),
    static: z
      .boolean()
      .optional()
      .describe(
        'On: address for address, without a record: the prefix of the source (snat) or destination (dnat) becomes the target, bits behind it stay.',
      ),
    after: z
      .enum(NAT_AFTER)
      .optional()
      .describe('What comes after a translation: accept (default), continue, return.'),
    log: z
      .boolean()
      .default(false)
      .describe('On: packets that agents decide by it are written down: mn rule log.'),
    ...condition,
    fragments: z
      .enum(FRAGMENTS)
      .optional()
      .describe(
        'Which parts of a datagram: any, later (fragments without a transport header), header (the others), whole. Without: header where a port or ICMP field is given, else any.',
      ),
    not: z
      .array(z.enum(CONDITION_FIELDS as [keyof typeof CONDITION]))
      .refine((fields) => new Set(fields).size === fields.length, 'names a field twice')
      .optional()
      .describe('Fields of this condition that are inverted: source, destinationPorts.'),
    invert: z
      .boolean()
      .default(false)
      .describe('On: matches what the condition (but for `fragments`) does not.'),
  })
  .meta({
    id: 'Rule',
    description: 'A rule of a chain: of a firewall, or of address translation.',
  });
export type Rule = z.output<typeof Rule>;

export const ruleKind = {
  name: 'rule',
  path: 'rules',
  about: 'A rule of a chain: of a firewall, or of address translation.',
  schema: Rule,
  references: {
    chain: { kind: 'chain', onDelete: 'cascade' },
    jump: { kind: 'chain', onDelete: 'refuse' },
    inPorts: { kind: 'port', onDelete: 'clear' },
    outPorts: { kind: 'port', onDelete: 'clear' },
    inPortGroup: { kind: 'port-group', onDelete: 'refuse' },
    outPortGroup: { kind: 'port-group', onDelete: 'refuse' },
    portGroup: { kind: 'port-group', onDelete: 'refuse' },
    traversedBridge: { kind: 'bridge', onDelete: 'refuse' },
    traversedRouter: { kind: 'router', onDelete: 'refuse' },
    sourceGroup: { kind: 'address-group', onDelete: 'refuse' },
    destinationGroup: { kind: 'address-group', onDelete: 'refuse' },
  },
  columns: [
    'chain',
    'position',
    'name',
    'action',
    'jump',
    'targets',
    'protocol',
    'source',
    'destination',
    'destinationPorts',
    'not',
    'labels',
    'id',
  ],
  assigned: [],
  immutable: ['chain', 'tenant'],
  filled: ['inPorts', 'outPorts'],
  writer: 'tenant',
  operatorFields: [],
  check,
} as const satisfies Kind;
