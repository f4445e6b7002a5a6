/**
 * For tests: how often each sort of frame, action and decision was among the cases of the
 * differential test. A sort that never comes proves nothing.
 */
import type { Actions, Rewrites } from '#flow/flow.ts';
import { KEY, KEY_SIZE } from '#flow/layout.ts';
import { parseHeaders, parseKey } from '#flow/parse.ts';
import { hidesAddress } from '#flow/rewrite.ts';
import { DROPS } from '#virtual/drop.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { Case } from './cases.arbitrary.ts';
import type { Decision } from './decisions.ts';

type Group = 'ways' | 'frames' | 'actions' | 'decisions' | 'drops';
const REWRITES = ['ethSrc', 'ethDst', 'ipSrc', 'ipDst', 'dscp', 'tpSrc', 'tpDst'] as const;
const UP = ['', 'up: miss', 'up: stale', 'up: ttl', 'up: too-big', 'up: connection'] as const;

/** Which sort of upper layer a key names. */
function upper(key: Uint8Array, six: boolean, frame: Uint8Array): string {
  const frag = key[KEY.ip_frag]!;
  if (frag === 3) return 'later fragment';
  const proto = key[KEY.ip_proto]!;
  const name = { 6: 'tcp', 17: 'udp', 1: six ? 'other' : 'icmp', 58: six ? 'icmp6' : 'other' };
  const l4 = parseHeaders(frame, key);
  if (proto === 17 && frame[l4 + 6] === 0 && frame[l4 + 7] === 0) return 'udp without a checksum';
  const first = frag === 1 ? 'first fragment of ' : '';
  const echo = key[KEY.tp_dst]! + key[KEY.tp_dst + 1]! > 0;
  const at = name[proto as 6] ?? 'other';
  if (six && hidesAddress(frame, { ipSrc: '0'.repeat(32) as never })) return 'address hidden';
  return `${first}${at}${at.startsWith('icmp') && echo ? ' echo' : ''}`;
}

/** What a frame is, in a few words. */
export function kindOf(frame: Uint8Array): string[] {
  const key = new Uint8Array(KEY_SIZE);
  if (!parseKey(frame, key)) return ['without a key'];
  const type = (key[KEY.eth_type]! << 8) | key[KEY.eth_type + 1]!;
  const tagged = key[KEY.vlan] === 0 ? [] : ['802.1Q tag'];
  if (type === 0x8100) return ['two 802.1Q tags'];
  if (type === 0x88a8) return ['802.1ad tag'];
  if (type === 0x0806) return [...tagged, 'arp'];
  if (type !== 0x0800 && type !== 0x86dd) return [...tagged, 'other type'];
  const six = type === 0x86dd;
  const name = six ? 'ipv6' : 'ipv4';
  const readable = key[KEY.ip_proto]! + key[KEY.ip_ttl]! + key[KEY.ip_tos]! > 0;
  if (!readable) return [...tagged, `${name} without a header`];
  return [...tagged, `${name} ${upper(key, six, frame)}`];
}

const fieldsOf = (what: Rewrites, of: string): string[] =>
  REWRITES.filter((field) => what[field] !== undefined).map((field) => {
    const ip = what[field];
    const family = field.startsWith('ip') ? (typeof ip === 'string' ? ' 6' : ' 4') : '';
    return `${of}${field}${family}`;
  });
const vlanText = (vlan: number | undefined): string[] =>
  vlan === undefined ? [] : [vlan === 0 ? 'vlan: pop' : 'vlan: set'];

const ownCode = ({ drop }: Actions): number | undefined =>
  drop === undefined ? undefined : DROPS[drop].code;

/** What actions say. */
function actionsOf(actions: Actions): string[] {
  const { decTtl, mtu, soundTcp, connection, outputs } = actions;
  const said = fieldsOf(actions, '');
  if (decTtl !== undefined) said.push('decTtl');
  if (mtu !== undefined) said.push('mtu');
  if (soundTcp === true) said.push('soundTcp');
  if (connection !== undefined) said.push(`connection ${connection.direction}`);
  said.push(...vlanText(actions.vlan), outputs.length > 1 ? 'several outputs' : 'one output');
  for (const output of outputs) {
    said.push('remote' in output ? 'output: tunnel' : 'output: port');
    said.push(...vlanText(output.vlan).map((text) => `own ${text}`));
    if (output.rewrite !== undefined)
      said.push('own rewrites', ...fieldsOf(output.rewrite, 'own '));
  }
  return said;
}

export class Histogram {
  cases = 0;
  /** A flow or a key served it. */
  served = 0;
  readonly #counts = new Map<string, number>();

  #count(group: Group, what: string, by = 1): void {
    const name = `${group}/${what}`;
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  add({ way, frame, gsoSize, actions, words }: Case & { readonly words: Decision }): void {
    this.cases++;
    this.#count('ways', way);
    const sorts = way === 'offload' ? [gsoSize === 0 ? 'partial' : 'super-packet'] : [];
    for (const kind of kindOf(frame)) this.#count('frames', [...sorts, kind].join(': '));
    const hit = words.some((word) => word.startsWith('hit'));
    const out = words.some((word) => word.startsWith('out'));
    if (hit || (out && way === 'key')) this.served++;
    if (hit && out) for (const said of actionsOf(actions)) this.#count('actions', said);
    if (hit && actions.drop !== undefined) this.#count('actions', 'drop');
    for (const word of words) {
      const [what = '', code = ''] = word.split(' ');
      if (what === 'up') this.#count('decisions', UP[Number(code)] ?? word);
      else if (what === 'drop' && ownCode(actions) === Number(code))
        this.#count('drops', "a flow's own");
      else if (what === 'drop') this.drop(Number(code));
      else if (what === 'hit') this.#count('decisions', 'hit');
      else this.#count('decisions', code === 'tunnel' ? 'out: tunnel' : 'out: port');
    }
  }

  /** Frames that the programs dropped for a reason of their own; `by`: elsewhere than in a case. */
  drop(code: number, by = 1): void {
    const reason = (Object.keys(DROPS) as DropReason[]).find((each) => DROPS[each].code === code);
    this.#count('drops', reason ?? String(code), by);
  }

  /** Sorts that came less often than this. */
  rarer(than: number): string[] {
    return [...this.#counts].filter(([, n]) => n < than).map(([name, n]) => `${name}: ${n}`);
  }

  text(): string {
    const rows = [...this.#counts].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return [`${this.cases} cases, ${this.served} served`]
      .concat(rows.map(([name, n]) => `${String(n).padStart(9)}  ${name}`))
      .join('\n');
  }
}
