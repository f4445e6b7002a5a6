/**
 * Flood groups: several outputs of one flow, shared by all flows that have the same ones.
 *
 * Invariants: a group is named by its content and never edited, so a program that walks it sees one
 * set of outputs; a group and its members are used again only GRACE_MS after its last flow went,
 * when no program can still be walking it. Local members come first: a clone to the tunnel leaves
 * tunnel data on the frame. Members with one tag stand together: the program changes it between
 * two that differ.
 */
import type { Actions, DpPeer, DpPort, Output, TunnelKey } from '#flow/flow.ts';
import { rewriteText } from '#flow/rewrite.ts';
import { GROUP, LIMITS, MEMBER, offsets, sizeOf } from '#flow/layout.ts';
import type { Maps } from './maps.ts';
import { RewriteSlots } from './rewrites.ts';
import { vlanOf, vlanWord } from './vlan.ts';

const AT = offsets(MEMBER);
const MEMBER_SIZE = sizeOf(MEMBER);
const GROUP_AT = offsets(GROUP);
const GROUP_SIZE = sizeOf(GROUP);
/** Far longer than any run of a program (a millisecond for 512 clones). */
export const GRACE_MS = 200;

interface Group {
  readonly name: string;
  readonly id: number;
  readonly first: number;
  readonly count: number;
  users: number;
  /** When its last user went. */
  retiredMs: number;
}
interface Run {
  first: number;
  count: number;
}

function textOf(output: Output): string {
  const tag = output.vlan === undefined ? '' : `.${output.vlan}`;
  const own = output.rewrite === undefined ? '' : rewriteText(output.rewrite);
  const to = 'remote' in output ? `1${output.remote}/${output.key}` : `0${output.port}`;
  return `${to}${tag}${own}`;
}
const nameOf = (outputs: readonly Output[]): string => outputs.map(textOf).sort().join(' ');

/** Local first, by tag within these: as they are, then those with a VID, then those without. */
const inOrder = (a: Output, b: Output): number =>
  Number('remote' in a) - Number('remote' in b) || vlanWord(a.vlan) - vlanWord(b.vlan);

export class Groups {
  refused = 0;
  /** What single members rewrite. */
  readonly rewrites: RewriteSlots;
  readonly #groups: DataView;
  readonly #members: DataView;
  readonly #byName = new Map<string, Group>();
  readonly #byId = new Map<number, Group>();
  readonly #now: () => number;
  #freeIds: number[] = [];
  /** Free runs of members, by position, never adjacent. */
  #free: Run[] = [{ first: 0, count: LIMITS.MEMBERS_MAX }];
  #retired: { readonly group: Group; readonly atMs: number }[] = [];

  constructor(maps: Maps, now: () => number) {
    this.#now = now;
    this.rewrites = new RewriteSlots(maps);
    this.#groups = new DataView(maps.memory.groups);
    this.#members = new DataView(maps.memory.members);
    for (let id = LIMITS.GROUPS_MAX - 1; id >= 0; id--) this.#freeIds.push(id);
  }

  /**
   * The group of these outputs, one user more; undefined when there is no room (`refused` counts).
   */
  acquire(outputs: readonly Output[]): number | undefined {
    return this.acquireOneOf([outputs]);
  }

  /** The first group that is there already, else one of the first outputs; see `acquire`. */
  acquireOneOf(choices: readonly (readonly Output[])[]): number | undefined {
    const names = choices.map(nameOf);
    for (const name of names) {
      const known = this.#byName.get(name);
      if (known === undefined) continue;
      known.users++;
      return known.id;
    }
    const [outputs, name] = [choices[0], names[0]];
    return outputs === undefined || name === undefined ? undefined : this.#make(outputs, name);
  }

  #make(outputs: readonly Output[], name: string): number | undefined {
    if (outputs.length > LIMITS.GROUP_MEMBERS_MAX) return this.#refuse();
    this.#reclaim();
    const first = this.#take(outputs.length);
    if (first === undefined) return this.#refuse();
    const id = this.#freeIds.pop();
    const ordered = outputs.toSorted(inOrder);
    if (id === undefined || !this.#writeAll(first, ordered)) {
      if (id !== undefined) this.#freeIds.push(id);
      this.#give(first, outputs.length);
      return this.#refuse();
    }
    this.#groups.setUint32(id * GROUP_SIZE + GROUP_AT.first, first, true);
    this.#groups.setUint32(id * GROUP_SIZE + GROUP_AT.count, outputs.length, true);
    this.#keep({ name, id, first, count: outputs.length, users: 1, retiredMs: 0 });
    return id;
  }

  #refuse(): undefined {
    this.refused++;
    return undefined;
  }
  #keep(group: Group): void {
    this.#byName.set(group.name, group);
    this.#byId.set(group.id, group);
  }

  /** Takes note of one more user of a group found in the kernel. */
  adopt(id: number): void {
    const known = this.#byId.get(id);
    if (known !== undefined) {
      known.users++;
      return;
    }
    const first = this.#groups.getUint32(id * GROUP_SIZE + GROUP_AT.first, true);
    const count = this.#groups.getUint32(id * GROUP_SIZE + GROUP_AT.count, true);
    this.#freeIds = this.#freeIds.filter((each) => each !== id);
    this.#cut(first, count);
    for (const mark of this.#marks(first, count)) this.rewrites.adopt(mark);
    this.#keep({
      name: nameOf(this.#read(first, count)),
      id,
      first,
      count,
      users: 1,
      retiredMs: 0,
    });
  }

  /** One user less. */
  release(id: number): void {
    const group = this.#byId.get(id);
    if (group === undefined) throw new Error(`datapath: group ${id} is not in use`);
    if (--group.users > 0) return;
    group.retiredMs = this.#now();
    this.#retired.push({ group, atMs: group.retiredMs });
  }

  outputsOf(id: number): Output[] {
    const group = this.#byId.get(id);
    return group === undefined ? [] : this.#read(group.first, group.count);
  }

  #reclaim(): void {
    const before = this.#now() - GRACE_MS;
    while (this.#retired.length > 0 && this.#retired[0]!.atMs <= before) {
      const { group, atMs } = this.#retired.shift()!;
      // Taken into use again, and perhaps retired again, since.
      if (group.users > 0 || group.retiredMs !== atMs) continue;
      this.#byName.delete(group.name);
      this.#byId.delete(group.id);
      for (const mark of this.#marks(group.first, group.count)) this.rewrites.release(mark);
      this.#give(group.first, group.count);
      this.#freeIds.push(group.id);
    }
  }

  /** False when what they rewrite has no room: then nothing of them is kept. */
  #writeAll(first: number, outputs: readonly Output[]): boolean {
    for (const [i, output] of outputs.entries()) {
      const { rewrite } = output;
      const mark = rewrite === undefined ? 0 : this.rewrites.acquire(output, rewrite);
      if (mark === undefined) {
        for (const each of this.#marks(first, i)) this.rewrites.release(each);
        return false;
      }
      this.#write(first + i, output, mark);
    }
    return true;
  }

  #write(index: number, output: Output, mark: number): void {
    const at = index * MEMBER_SIZE;
    const tunnel = 'remote' in output;
    this.#members.setUint32(at + AT.ifindex, tunnel ? 0 : output.port, true);
    this.#members.setUint32(at + AT.tun_key, tunnel ? output.key : 0, true);
    this.#members.setUint32(at + AT.peer, tunnel ? output.remote : 0, true);
    this.#members.setUint32(at + AT.vlan, vlanWord(output.vlan), true);
    this.#members.setUint32(at + AT.rewrite, mark, true);
  }

  /** The marks of those that rewrite something. */
  #marks(first: number, count: number): number[] {
    const marks = Array.from({ length: count }, (_, i) =>
      this.#members.getUint32((first + i) * MEMBER_SIZE + AT.rewrite, true),
    );
    return marks.filter((mark) => mark !== 0);
  }

  #read(first: number, count: number): Output[] {
    return Array.from({ length: count }, (_, i) => {
      const at = (first + i) * MEMBER_SIZE;
      const mark = this.#members.getUint32(at + AT.rewrite, true);
      const own = {
        ...vlanOf(this.#members.getUint32(at + AT.vlan, true)),
        ...(mark !== 0 && { rewrite: this.rewrites.read(mark) }),
      };
      const port = this.#members.getUint32(at + AT.ifindex, true) as DpPort;
      if (port !== 0) return { port, ...own };
      const key = this.#members.getUint32(at + AT.tun_key, true) as TunnelKey;
      return { key, remote: this.#members.getUint32(at + AT.peer, true) as DpPeer, ...own };
    });
  }

  /** First fit. */
  #take(count: number): number | undefined {
    const at = this.#free.findIndex((run) => run.count >= count);
    const run = this.#free[at];
    if (run === undefined) return undefined;
    const { first } = run;
    run.first += count;
    run.count -= count;
    if (run.count === 0) this.#free.splice(at, 1);
    return first;
  }

  #give(first: number, count: number): void {
    let at = this.#free.findIndex((run) => run.first > first);
    if (at < 0) at = this.#free.length;
    this.#free.splice(at, 0, { first, count });
    this.#join(at);
    if (at > 0) this.#join(at - 1);
  }
  /** Makes one run of this and the next when they touch. */
  #join(at: number): void {
    const [left, right] = [this.#free[at], this.#free[at + 1]];
    if (left === undefined || right === undefined || left.first + left.count !== right.first)
      return;
    left.count += right.count;
    this.#free.splice(at + 1, 1);
  }

  /** Takes exactly this run. */
  #cut(first: number, count: number): void {
    const at = this.#free.findIndex(
      (run) => run.first <= first && first + count <= run.first + run.count,
    );
    const run = this.#free[at];
    if (run === undefined)
      throw new Error(`datapath: the members of two groups overlap at ${first}`);
    const before = { first: run.first, count: first - run.first };
    const after = { first: first + count, count: run.first + run.count - first - count };
    this.#free.splice(at, 1, ...[before, after].filter((each) => each.count > 0));
  }
}

/** Whether actions need a group. An only output's own rewrites come after its tag. */
export const needsGroup = ({ outputs }: Actions): boolean =>
  outputs.length > 1 || outputs[0]?.rewrite !== undefined;
