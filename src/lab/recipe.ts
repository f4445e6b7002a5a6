/**
 * What a lab consists of, as a small YAML file. Everything a lab makes is derived from the recipe
 * and the lab's name, so that whoever has these two can also take it down.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { isIp6, parseIp } from '#net/ip.ts';
import { isGroup, parseMac } from '#net/mac.ts';

export const HOSTS_MAX = 32;
export const OUTSIDERS_MAX = 8;
export const WORKLOADS_MAX = 128;

/** Names of namespaces and interfaces of every lab, which no part of a recipe may take. */
const RESERVED = new Set(['net', 'api', 'lo', 'all', 'default', 'ul0']);

const partName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,10}$/, 'must be 1 to 11 lower-case letters, digits or -')
  .refine(
    (text) => !RESERVED.has(text) && !text.startsWith('mn'),
    'is a name the lab itself needs',
  );

const mac = z.string().refine((text) => {
  const parsed = parseMac(text);
  return parsed !== undefined && parsed !== 0 && !isGroup(parsed);
}, 'must be a unicast MAC address such as 02:00:00:00:00:01');

/** An address with the length of its network, as `ip address add` takes it. */
const interfaceAddress = z.string().refine((text) => {
  const [address = '', length = '', ...rest] = text.split('/');
  const ip = parseIp(address);
  if (ip === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length)) return false;
  return Number(length) <= (isIp6(ip) ? 128 : 32);
}, 'must be an address with a length such as 10.0.0.1/24');

const Workload = z.strictObject({
  host: partName,
  bridge: partName,
  mac,
  addresses: z.array(interfaceAddress).min(1).max(16),
});

const Bridge = z.strictObject({
  tenant: partName,
  /** Whether its ports are told the addresses behind them; otherwise the bridge learns. */
  seeded: z.boolean().default(false),
});

const Recipe = z
  .strictObject({
    about: z.string().min(1),
    hosts: z.array(partName).min(1).max(HOSTS_MAX),
    /** Machines on the underlay that run no agent. */
    outsiders: z.array(partName).max(OUTSIDERS_MAX).default([]),
    bridges: z.record(partName, Bridge),
    workloads: z
      .record(partName, Workload)
      .refine((all) => Object.keys(all).length <= WORKLOADS_MAX, `at most ${WORKLOADS_MAX}`),
  })
  .superRefine((recipe, context) => {
    const parts = [...recipe.hosts, ...recipe.outsiders, ...Object.keys(recipe.workloads)];
    for (const [i, part] of parts.entries())
      if (parts.indexOf(part) !== i)
        context.addIssue({ code: 'custom', message: `the name ${part} is used twice` });
    for (const [name, workload] of Object.entries(recipe.workloads)) {
      const path = ['workloads', name];
      if (!recipe.hosts.includes(workload.host))
        context.addIssue({ code: 'custom', path: [...path, 'host'], message: 'is no host here' });
      if (recipe.bridges[workload.bridge] === undefined)
        context.addIssue({
          code: 'custom',
          path: [...path, 'bridge'],
          message: 'is no bridge here',
        });
    }
  });
export type Recipe = z.output<typeof Recipe>;
export type Workload = z.output<typeof Workload>;

/** One line a fault; for a key that is not allowed, what is wrong with it. */
function faultLines(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.join('.');
  if (issue.code !== 'invalid_key') return [`  ${path}: ${issue.message}`];
  return issue.issues.map(({ message }) => `  ${path}: ${message}`);
}

/** Answers the recipe, or throws an error that names every field at fault. */
export function parseRecipe(text: string): Recipe {
  const result = Recipe.safeParse(parse(text));
  if (result.success) return result.data;
  throw new Error(
    `the recipe is not valid:\n${result.error.issues.flatMap(faultLines).join('\n')}`,
  );
}

const builtIn = new URL('recipes/', import.meta.url);

export const recipeNames = (): string[] =>
  readdirSync(builtIn)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length));

/** `which`: the name of a recipe that comes with the lab, or the path of a file. */
export function readRecipe(which: string): Recipe {
  if (recipeNames().includes(which)) {
    return parseRecipe(readFileSync(new URL(`${which}.yaml`, builtIn), 'utf8'));
  }
  if (existsSync(which)) return parseRecipe(readFileSync(which, 'utf8'));
  throw new Error(
    `there is no recipe ${which}; known: ${recipeNames().join(', ')}, or name a file`,
  );
}

/** The workload's first address of a family, without its length. */
export function addressOf(workload: Workload, family: 4 | 6): string | undefined {
  const of = (text: string): string => text.split('/')[0] ?? '';
  return workload.addresses.map(of).find((text) => {
    const ip = parseIp(text);
    return ip !== undefined && isIp6(ip) === (family === 6);
  });
}
