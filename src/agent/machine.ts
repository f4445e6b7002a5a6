/**
 * The machine that an agent runs on and the program that it is, for whoever asks how it fares: its
 * clock, kernel, log and metrics, and where its datapath is. Agents that share a process with
 * others, in tests, have no place of their own on it.
 */
import { release } from 'node:os';
import type { Machine } from '#client/types.ts';
import { wallMs } from '#os/clock.ts';
import type { Logs } from '#telemetry/log.ts';
import { AgentMeters } from './metrics.ts';

/** Where the datapath keeps its maps; the UDP ports of its tunnel, and of records. */
export interface Place {
  readonly runDir: string;
  readonly tunnelUdpPort: number;
  readonly recordUdpPort: number;
}
export interface MachineOptions {
  readonly logs: Logs;
  readonly version: string;
  readonly place?: Place | undefined;
}

export class AgentMachine {
  readonly logs: Logs;
  readonly meters: AgentMeters;
  readonly #place: Place | undefined;

  constructor({ logs, version, place }: MachineOptions) {
    this.logs = logs;
    this.#place = place;
    this.meters = new AgentMeters(version, logs);
  }

  /** Throws where there is none. */
  get place(): Place {
    if (this.#place === undefined)
      throw new Error('it shares its process with others, and has no host to look at');
    return this.#place;
  }

  about(): Machine {
    const uptimeMs = Math.round(process.uptime() * 1_000);
    return { timeMs: wallMs(), kernel: release(), uptimeMs };
  }
}
