/** What is asked and answered about flows, as the API describes itself. */
import { z } from 'zod';
import { DROPS } from '#virtual/drop.ts';
import { TraceBody } from './trace.ts';

const { port, frame } = TraceBody.shape;
export const WhyBody = z
  .strictObject({ port, frame })
  .meta({ id: 'WhyPacketRequest', description: 'A frame that enters at a port.' });

const count = z.int().min(0);
const lines = z.array(z.string()).describe('The cause, as a trace prints it.');
const reasonText = `A reason of the closed list: ${Object.keys(DROPS).join(', ')}.`;
const row = z.object({
  id: z.string().describe('Names this one installed flow.'),
  host: z.string().optional(),
  hostName: z.string().optional(),
  port: z.string().optional().describe('Where its frames enter.'),
  portName: z.string().optional(),
  from: z.string().optional().describe('What another host sends it for, by the tunnel.'),
  match: z.string().describe('What it matches, in the grammar of frames.'),
  fields: z.array(z.string()),
  actions: z.string(),
  verdict: z.enum(['forward', 'drop']),
  reason: z.string().optional().describe(reasonText),
  lines,
  packets: count,
  bytes: count,
  ageMs: count,
  idleMs: count.optional(),
  key: z.string().describe('The masked key, in hex.'),
});
export const FlowRowBody = row.meta({ id: 'FlowRow', description: 'A live flow.' });
const rows = z.array(row);
const missingHosts = z
  .array(z.object({ host: z.string(), why: z.string() }))
  .describe('Hosts that did not answer.');
const drops = z
  .array(z.object({ port: z.string(), reason: z.string(), about: z.string(), frames: count }))
  .describe('Frames that entered there and were dropped by no flow that is there now.');
export const FlowPageBody = z.object({
  revision: count,
  items: rows,
  missing: missingHosts,
  next: z.string().optional().describe('Send as `after`.'),
});
export const WhyPacketBody = z.object({
  revision: count,
  flow: row.optional(),
  beyond: z.string().optional().describe('Why the flow does not carry this packet.'),
  trace: z
    .object({ verdict: z.string(), reason: z.string().optional(), lines })
    .optional()
    .describe('What would become of it: a trace by the agent, nothing that is installed.'),
  drops,
});
export const WhyPairBody = z.object({
  revision: count,
  forth: rows,
  back: rows,
  drops,
  missing: missingHosts,
});
