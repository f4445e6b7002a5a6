/**
 * For tests of the command line: an API in a Map, just true enough to the contract, and one run
 * with its output captured. What the API really answers is tested against the real one.
 */
import { createHash } from 'node:crypto';
import { ApiError } from '#client/errors.ts';
import { healthClient } from '#client/health.ts';
import { balanceQuestions } from '#client/balance.ts';
import { firewallQuestions } from '#client/firewall.ts';
import { flowQuestions } from '#client/flows.ts';
import type { Client, KnownToken, Problem, Status, WatchEvent } from '#client/types.ts';
import type { TraceResult } from '#client/trace.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { runCli } from './cli.ts';
import type { CliIo } from './io.ts';

export const refusal = (problem: Omit<Problem, 'type'>): ApiError =>
  new ApiError({ type: 'about:blank', ...problem });

/** A UUID that is the same in every run. */
export function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const at = (from: number, to: number): string => hex.slice(from, to);
  return `${at(0, 8)}-${at(8, 12)}-4${at(13, 16)}-8${at(17, 20)}-${at(20, 32)}`;
}

type Body = Readonly<Record<string, unknown>>;

export interface FakeApi {
  readonly client: Client;
  /** What was asked, in order: `update port …` with its arguments. */
  readonly asked: { readonly call: string; readonly args: readonly unknown[] }[];
  readonly rows: Map<string, StoredObject>;
  /** Answers of calls that a Map cannot give. */
  readonly answers: {
    status: Status;
    behind: string[];
    away: string[];
    events: WatchEvent[];
    trace: Partial<TraceResult>;
  };
  /** Thrown once by the next call of that name. */
  readonly failNext: Map<string, Error>;
  /** What `tokens` answers. */
  readonly tokens: KnownToken[];
  add(kind: KindName, body: Body): StoredObject;
}

const NO_TRACE: Omit<TraceResult, 'revision'> = {
  lines: [],
  verdict: 'drop',
  ports: [],
  sends: [],
  fields: [],
  way: [],
  steps: [],
  looked: [],
  looksLeftOut: 0,
  flow: { match: [], actions: [] },
};

const ASSIGNED: Readonly<Partial<Record<KindName, Body>>> = {
  bridge: { floodKey: 0x800001 },
  router: { networkKey: 0x800002 },
};
const MADE_MAC = '6e:00:00:00:00:01';

class Fake implements FakeApi {
  readonly asked: { call: string; args: readonly unknown[] }[] = [];
  readonly rows = new Map<string, StoredObject>();
  readonly failNext = new Map<string, Error>();
  readonly tokens: KnownToken[] = [];
  readonly answers: FakeApi['answers'] = {
    status: { version: '0.1.0', revision: 0, hosts: [] },
    behind: [],
    away: [],
    events: [],
    trace: { lines: ['drop: no-recipient'] },
  };
  readonly client = this.#client();
  #revision = 0;

  add(kind: KindName, body: Body): StoredObject {
    const name = body['name'] ?? body['destination'];
    return this.#put(kind, uuidOf(`${kind}/${String(name)}`), body);
  }

  #put(kind: KindName, id: string, body: Body): StoredObject {
    const row = kindOf(kind);
    const resolved = JSON.parse(JSON.stringify(body)) as Record<string, unknown>;
    for (const [path, { kind: target }] of Object.entries(row.references)) {
      const [field = '', inner] = path.split('.');
      const holders =
        inner === undefined ? [resolved] : ((resolved[field] ?? []) as (typeof resolved)[]);
      const key = inner ?? field;
      for (const holder of holders)
        if (typeof holder[key] === 'string') holder[key] = this.find(target, holder[key]).id;
    }
    this.#revision += 1;
    const object = row.schema.parse({ ...ASSIGNED[kind], ...resolved, id }) as Body;
    if (kind === 'port' && resolved['router'] !== undefined)
      Object.assign(object, { type: 'router', mac: object['mac'] ?? MADE_MAC });
    const foreign = Object.entries(row.variants?.of ?? {})
      .filter(([variant]) => variant !== object['type'])
      .flatMap(([, fields]) => fields);
    const own = Object.entries(object).filter(([field]) => !foreign.includes(field));
    const stored = {
      ...Object.fromEntries(own),
      revision: this.#revision,
    } as unknown as StoredObject;
    this.rows.set(`${kind}/${id}`, stored);
    return stored;
  }

  find(kind: KindName, idOrName: string): StoredObject {
    const all = this.list(kind);
    const found = all.find((object) => object.id === idOrName || object.name === idOrName);
    if (found !== undefined) return found;
    throw refusal({ status: 404, title: `There is no ${kind} '${idOrName}'` });
  }

  list(kind: KindName): StoredObject[] {
    return [...this.rows].filter(([key]) => key.startsWith(`${kind}/`)).map(([, row]) => row);
  }

  #ask(call: string, args: readonly unknown[]): void {
    this.asked.push({ call, args });
    const failure = this.failNext.get(call);
    this.failNext.delete(call);
    if (failure !== undefined) throw failure;
  }

  #update(kind: KindName, id: string, body: Body): StoredObject {
    const before = this.find(kind, id);
    const merged: Record<string, unknown> = { ...before, ...body };
    for (const [field, value] of Object.entries(merged)) if (value === null) delete merged[field];
    delete merged['revision'];
    return this.#put(kind, before.id, merged);
  }

  #client(): Client {
    const hostsOnly = (): Promise<never> => Promise.reject(new Error('hosts only'));
    // Tried against a real API: there is no host to look at here.
    const none = (): never => {
      throw new Error('no host is here');
    };
    const notHere = { capture: none, traceLive: none, drops: none };
    return {
      ...this.#reads(),
      ...this.#writes(),
      tokens: async () => {
        this.#ask('tokens', []);
        return this.tokens;
      },
      revokeToken: async (id) => {
        this.#ask('revokeToken', [id]);
      },
      issueToken: async (token) => {
        this.#ask('issueToken', [token]);
        return { secret: 's3cret' };
      },
      self: async () => {
        this.#ask('self', []);
        return { role: 'operator', name: 'unix-socket' };
      },
      ...notHere,
      dryRun: async (operations) => {
        this.#ask('dryRun', [operations]);
        return { revision: this.#revision, objects: [], dryRun: true, changes: [] };
      },
      history: async () => ({ revision: this.#revision, items: [] }),
      rollback: hostsOnly,
      backup: hostsOnly,
      locate: hostsOnly,
      ownPorts: hostsOnly,
      returnPorts: hostsOnly,
      reportHealth: hostsOnly,
      report: hostsOnly,
      learn: hostsOnly,
      answerAsk: hostsOnly,
      ...healthClient({ send: hostsOnly, get: hostsOnly, ask: hostsOnly, open: hostsOnly }),
      ...firewallQuestions({ ask: hostsOnly, send: hostsOnly, get: hostsOnly, open: hostsOnly }),
      ...balanceQuestions({ ask: hostsOnly, send: hostsOnly, get: hostsOnly, open: hostsOnly }),
      ...flowQuestions({ ask: hostsOnly, send: hostsOnly, get: hostsOnly, open: hostsOnly }),
      recordKeys: hostsOnly,
      whatIf: hostsOnly,
    };
  }

  #reads(): Pick<Client, 'list' | 'listAll' | 'get' | 'status' | 'wait' | 'trace' | 'watch'> {
    const select = (kind: KindName, where: Body = {}): StoredObject[] =>
      this.list(kind).filter((row) =>
        Object.entries(where).every(
          ([field, value]) => String((row as unknown as Body)[field]) === value,
        ),
      );
    return {
      list: async (kind, query) => {
        this.#ask('list', [kind, query]);
        return { revision: this.#revision, items: select(kind, query?.where) };
      },
      listAll: async (kind, where) => {
        this.#ask('listAll', [kind, where]);
        return select(kind, where);
      },
      get: async (kind, id) => {
        this.#ask('get', [kind, id]);
        return this.find(kind, id);
      },
      status: async () => {
        this.#ask('status', []);
        return this.answers.status;
      },
      wait: async (revision, timeoutMs) => {
        this.#ask('wait', [revision, timeoutMs]);
        const { behind, away } = this.answers;
        return { revision, enforced: ['h1'], behind, away };
      },
      trace: async (request) => {
        this.#ask('trace', [request]);
        return { revision: this.#revision, ...NO_TRACE, ...this.answers.trace };
      },
      watch: (options) => {
        this.#ask('watch', [options]);
        return this.#events();
      },
    };
  }

  #writes(): Pick<Client, 'create' | 'update' | 'remove' | 'transact'> {
    const written = (objects: (StoredObject | undefined)[]) => ({
      revision: this.#revision,
      objects,
    });
    const remove = (kind: KindName, id: string): undefined => {
      this.rows.delete(`${kind}/${this.find(kind, id).id}`);
      this.#revision += 1;
    };
    return {
      create: async (kind, body) => {
        this.#ask('create', [kind, body]);
        return written([this.add(kind, body)]);
      },
      update: async (kind, id, body, ifRevision) => {
        this.#ask('update', [kind, id, body, ifRevision]);
        return written([this.#update(kind, id, body)]);
      },
      remove: async (kind, id, ifRevision) => {
        this.#ask('remove', [kind, id, ifRevision]);
        return written([remove(kind, id)]);
      },
      transact: async (operations) => {
        this.#ask('transact', [operations]);
        for (const op of operations) if (op.op === 'delete') remove(op.kind, op.id);
        return written(operations.map(() => undefined));
      },
    };
  }

  async *#events(): AsyncGenerator<WatchEvent> {
    yield* this.answers.events;
  }
}

export const fakeApi = (): FakeApi => new Fake();

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Splits as a shell would, double quotes included. */
export const splitWords = (line: string): string[] =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');

/** Runs one command line, `bridge list` say, and answers all it printed. */
export async function mn(client: Client, line: string, io: Partial<CliIo> = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const code = await runCli(splitWords(line), {
    client,
    out: (text) => (out += text),
    err: (text) => (err += text),
    version: '0.1.0',
    ...io,
  });
  return { code, out, err };
}
