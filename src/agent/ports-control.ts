/**
 * Asks the API for public ports that the edge is short of, and gives back those it does not use.
 *
 * Invariants: level-triggered (what failed is asked for by the next state); nothing is asked for
 * twice before the edge has seen the answer; only a refusal is told as one: an API that is away is
 * no shortage.
 */
import { ApiError } from '#client/errors.ts';
import type { Client, PortsWanted } from '#client/types.ts';
import type { EdgeState, ToEdge } from './messages.ts';

/** Requests for ports at a time. */
const TOGETHER_MAX = 8;

const keyOf = ({ router, address, first, last }: PortsWanted): string =>
  `${router}/${address} ${first}-${last}`;

export interface PortsControlOptions {
  readonly client: Pick<Client, 'ownPorts' | 'returnPorts'>;
  readonly edge: { send(message: ToEdge): void };
}

export class PortsControl {
  readonly #options: PortsControlOptions;
  /** What was asked for, until the edge has seen this revision. */
  readonly #granted = new Map<string, number>();
  readonly #returned = new Map<string, number>();

  constructor(options: PortsControlOptions) {
    this.#options = options;
  }

  /** Whether there is anything to ask for now. */
  isDue(state: EdgeState): boolean {
    return this.#wants(state).length + this.#returns(state).length > 0;
  }
  #wants({ publicPorts: { wants }, revision }: EdgeState): PortsWanted[] {
    for (const [key, seen] of this.#granted) if (seen <= revision) this.#granted.delete(key);
    return wants.filter((wanted) => !this.#granted.has(keyOf(wanted))).slice(0, TOGETHER_MAX);
  }
  #returns({ publicPorts: { returns }, revision }: EdgeState): string[] {
    for (const [id, seen] of this.#returned) if (seen <= revision) this.#returned.delete(id);
    return returns.filter((id) => !this.#returned.has(id)).slice(0, TOGETHER_MAX);
  }

  /** Carries out what a state asks for. Throws what the API did not answer. */
  async run(state: EdgeState): Promise<void> {
    const results = await Promise.allSettled([
      ...this.#wants(state).map((wanted) => this.#own(wanted)),
      ...this.#returns(state).map((id) => this.#return(id)),
    ]);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }
  async #own(wanted: PortsWanted): Promise<void> {
    const { client, edge } = this.#options;
    try {
      const { revision } = await client.ownPorts(wanted);
      this.#granted.set(keyOf(wanted), revision);
    } catch (error) {
      // 401 is about the token, not about these ports.
      if (!(error instanceof ApiError) || error.status >= 500 || error.status === 401) throw error;
      edge.send({ type: 'ports-refused', wanted });
    }
  }
  async #return(id: string): Promise<void> {
    try {
      const { revision } = await this.#options.client.returnPorts(id);
      this.#returned.set(id, revision);
    } catch (error) {
      // It is not there any more: the edge will see that.
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
    }
  }
}
