/**
 * Beside the kernel module of Open vSwitch, which the kernel of this machine may not have: both in
 * the same emulated guest with Debian's kernel. Absolute figures of an emulated machine say
 * nothing; the ratios do, as far as the emulator's costs are alike for both.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInGuest } from '#test/kernel/guest.ts';
import type { GuestSamples } from '../guest.script.ts';
import type { Line } from '../line.ts';
import { Skip, type Bench, type Measured, type Row } from '../row.ts';

const SCRIPT = 'bench/guest.script.ts';
const RUNS_MAX = 3;
const DEADLINE_S = 900;
const PEERS = [
  ['ovs', 'Open vSwitch, kernel module'],
  ['bridge', 'Linux bridge'],
] as const;

async function samplesOf(runs: number, seconds: number): Promise<GuestSamples> {
  const share = mkdtempSync(join(tmpdir(), 'midonet-bench-'));
  try {
    const code = await runInGuest({
      command: ['node', SCRIPT, '/share/samples.json', `${runs}`, `${seconds}`],
      seconds: DEADLINE_S,
      share,
    }).catch((error: Error) => {
      throw new Skip(`the guest cannot be had: ${error.message}`);
    });
    if (code !== 0) throw new Error(`in the guest: exit ${code}`);
    return JSON.parse(readFileSync(join(share, 'samples.json'), 'utf8')) as GuestSamples;
  } finally {
    rmSync(share, { recursive: true, force: true });
  }
}

async function measure({ quick, asked, runs, seconds, tell }: Bench): Promise<Measured> {
  if (quick && !asked)
    throw new Skip('an emulated machine is slow: with --quick only when --only names this row');
  tell('a guest with Debian’s kernel boots');
  const of = await samplesOf(Math.min(runs, RUNS_MAX), seconds);
  const lines = PEERS.flatMap(([side, name]): Line[] => [
    {
      what: 'in a guest: one TCP stream, same host',
      unit: 'Gbit/s',
      better: 'more',
      ours: of.ours.stream,
      peer: { name, values: of[side].stream },
    },
    {
      what: 'in a guest: 64-byte packets of one sender',
      unit: 'k/s',
      better: 'more',
      ours: of.ours.packets.map((each) => each / 1000),
      peer: { name, values: of[side].packets.map((each) => each / 1000) },
    },
  ]);
  const notes = [
    'emulated in software: only the ratios mean something; the stream of ours goes through switch,',
    'router, switch, the others through one switch; packets through one switch on every side; our edge',
    'is in the measuring process, with the topology handed over once: no API, no other agent',
  ];
  return { lines, notes };
}

export const guest: Row = {
  name: 'guest',
  what: "beside Open vSwitch's kernel module, both in an emulated guest with Debian's kernel",
  tools: ['qemu-system-x86_64', 'iperf3', 'trafgen', 'ovs-vswitchd'],
  root: true,
  sides: [],
  measure,
};
