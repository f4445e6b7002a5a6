/**
 * Documents from files: YAML (any number in a file, with anchors) and JSON (one, a list, or
 * `{ items: […] }`, which YAML may be too).
 *
 * Invariant: everything is read and checked before anything is sent; a fault names file, line,
 * field and rule.
 */
import { isAlias, isCollection, isNode, isPair, LineCounter, parseAllDocuments } from 'yaml';
import type { Document as YamlDocument, Node, YAMLMap } from 'yaml';
import type { Fault } from '#virtual/kind.ts';
import type { CliIo } from '../io.ts';
import { RefusedError, UsageError } from '../io.ts';
import { checkDocument, DOCUMENT_KINDS, isRecord, type Document, type Place } from './document.ts';

/** Characters of one file; a larger one is refused. */
export const FILE_CHARACTERS_MAX = 64 * 1024 * 1024;
/** Documents of one run. */
export const DOCUMENTS_MAX = 100_000;
/** Aliases that one file may expand to: more is no network, but an attack on who reads it. */
const ALIASES_MAX = 10_000;
/** Faults told at once. */
const FAULTS_TOLD_MAX = 20;
/** Files of a directory that hold documents; hidden ones are somebody's own. */
const DOCUMENT_FILE = /(?:^|\/)[^./][^/]*\.(?:ya?ml|json)$/i;

/** A fault and where it is; nowhere when it is about an object that no document describes. */
export interface PlacedFault extends Fault {
  readonly place: Place | undefined;
  /** The object it is about, as people call it; '' when that is not known. */
  readonly what: string;
}

export const placeText = ({ file, line }: Place): string =>
  `${file === '-' ? 'standard input' : file}:${line}`;

/** `net.yaml:12: port p1: bridge: no bridge is named "b9"` */
export const faultText = ({ place, what, path, message }: PlacedFault): string =>
  [place === undefined ? '' : placeText(place), what, path, message]
    .filter((part) => part !== '')
    .join(': ');

/** Faults as lines below a text; of many only the first. */
export function faultsText(faults: readonly PlacedFault[]): string {
  const told = faults.slice(0, FAULTS_TOLD_MAX).map((fault) => `\n  ${faultText(fault)}`);
  const more = faults.length - told.length;
  return `${told.join('')}${more > 0 ? `\n  and ${more} more` : ''}`;
}

/** All that is wrong with documents, as one refusal. */
export function documentsRefused(faults: readonly PlacedFault[]): RefusedError {
  const text = `the documents are refused, and nothing was changed${faultsText(faults)}`;
  const named = new Set(faults.map(({ what }) => what.split(' ')[0]));
  const kind = DOCUMENT_KINDS.find((name) => named.has(name));
  return new RefusedError(text, kind && `What a field means: mn explain ${kind}`);
}

/** One object of a file, as it was read. */
interface Item {
  readonly value: unknown;
  readonly line: number;
  readonly lineOf: (path: string) => number;
}

/** The node at a path, or the nearest above it. */
function nodeAt(document: YamlDocument, from: Node, path: readonly string[]): Node {
  let node: Node = from;
  for (const part of path) {
    const seen = isAlias(node) ? node.resolve(document) : node;
    if (!isCollection(seen)) return node;
    const index = /^\d+$/.test(part) ? Number(part) : part;
    const pair = seen.items.find(
      (item) => isPair(item) && isNode(item.key) && String(item.key) === part,
    );
    const next = isPair(pair) ? (pair.value ?? pair.key) : seen.get(index, true);
    if (!isNode(next) || next.range == null) return node;
    node = next;
  }
  return node;
}

function itemsOf(document: YamlDocument, lines: LineCounter): Item[] {
  const root = document.contents;
  if (!isNode(root)) return [];
  const value = document.toJS({ maxAliasCount: ALIASES_MAX }) as unknown;
  if (value === null || value === undefined) return [];
  const lineOf = (node: Node): number => lines.linePos(node.range?.[0] ?? 0).line;
  const item = (each: unknown, node: Node): Item => ({
    value: each,
    line: lineOf(node),
    lineOf: (path) => lineOf(nodeAt(document, node, path.split('.'))),
  });
  const list = (all: readonly unknown[], path: readonly string[]): Item[] =>
    all.map((each, i) => item(each, nodeAt(document, root, [...path, String(i)])));
  if (Array.isArray(value)) return list(value, []);
  if (isRecord(value) && Array.isArray(value['items']) && value['kind'] === undefined)
    return list(value['items'], ['items']);
  return [item(value, root as YAMLMap)];
}

/** The documents of one text. Adds what is wrong to `faults`. */
export function parseDocuments(file: string, text: string, faults: PlacedFault[]): Document[] {
  const lines = new LineCounter();
  const fail = (line: number, message: string): void =>
    void faults.push({ place: { file, line }, what: '', path: '', message });
  if (text.length > FILE_CHARACTERS_MAX) {
    fail(1, `has more than ${FILE_CHARACTERS_MAX} characters`);
    return [];
  }
  const parsed = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false });
  const documents: Document[] = [];
  for (const yaml of 'empty' in parsed ? [] : parsed) {
    for (const { message, pos } of yaml.errors) fail(lines.linePos(pos[0]).line, message);
    if (yaml.errors.length > 0) continue;
    let items: Item[] = [];
    try {
      items = itemsOf(yaml, lines);
    } catch (error) {
      // Aliases of what is not there, or too many.
      fail(lines.linePos(yaml.range[0]).line, (error as Error).message);
    }
    for (const { value, line, lineOf } of items) {
      const checked = checkDocument(value);
      if ('kind' in checked) documents.push({ ...checked, place: { file, line }, lineOf });
      else
        for (const fault of checked)
          faults.push({
            ...fault,
            place: { file, line: lineOf(fault.path) },
            what: whatOf(value),
          });
    }
  }
  return documents;
}

/** How people call what a document describes, before it is known to be right. */
function whatOf(value: unknown): string {
  if (!isRecord(value) || typeof value['kind'] !== 'string') return '';
  const { kind, destination, router, chain, position, id } = value;
  const route = typeof router === 'string' ? `${String(destination)} of ${router}` : destination;
  const rule = typeof chain === 'string' ? `${String(position)} of ${chain}` : id;
  const nameless = kind === 'rule' ? rule : destination === undefined ? id : route;
  const name = value['name'] ?? nameless;
  return typeof name === 'string' ? `${kind} ${name}` : kind;
}
/** The same for a document that is. */
export const titleOfDocument = ({ kind, id, fields }: Document): string =>
  whatOf({ ...fields, kind, id });

/**
 * The documents of files and directories (`*.yaml`, `*.yml`, `*.json` in them, by name; not what is
 * in directories below); `-` is standard input. Throws UsageError for what cannot be read, and
 * RefusedError for what is no document.
 */
export async function readDocuments(
  { files }: Pick<CliIo, 'files'>,
  paths: readonly string[],
): Promise<Document[]> {
  if (files === undefined) throw new UsageError('-f: there are no files here');
  const faults: PlacedFault[] = [];
  const documents: Document[] = [];
  const named: string[] = [];
  try {
    for (const path of paths) {
      const inside = await files.list(path);
      named.push(...(inside?.filter((each) => DOCUMENT_FILE.test(each)) ?? [path]));
    }
    for (const path of named)
      documents.push(...parseDocuments(path, await files.read(path), faults));
  } catch (error) {
    if (!(error instanceof Error) || !/^E[A-Z]+: /.test(error.message)) throw error;
    throw new UsageError(`-f: ${error.message}`);
  }
  if (faults.length > 0) throw documentsRefused(faults);
  if (documents.length === 0) throw new UsageError(`-f: no document in ${paths.join(', ')}`);
  if (documents.length > DOCUMENTS_MAX)
    throw new UsageError(`-f: ${documents.length} documents; at most ${DOCUMENTS_MAX} in one run`);
  return documents;
}
