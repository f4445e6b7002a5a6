/**
 * The pages that are played: all of `test/scenarios`, and those of the guide that have a lab. A
 * page of the guide without one is listed here with the test that runs its commands, so that no
 * page goes unplayed because nobody thought of it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const SCENARIOS = 'test/scenarios';
export const GUIDE = 'docs/guide';
/** Pages beside the guide; those with a lab are played too. */
const OTHERS = ['docs/concepts', 'docs/operations'];

/** Why a page has no lab, and the test that its words are held to. */
export interface Unplayed {
  readonly because: string;
  readonly test: string;
}

/** By the name of the page in the guide. */
export const UNPLAYED: Readonly<Record<string, Unplayed>> = {
  'attaching.md': {
    because: 'its commands make interfaces on a real host',
    test: 'test/attaching.lab.test.ts',
  },
  'capture-and-live-trace.md': {
    because: 'its commands look at frames as a kernel sees them, while they pass',
    test: 'test/sight.lab.test.ts',
  },
  'first-steps.md': {
    because: 'its commands are typed on hosts of a lab',
    test: 'test/first-steps.lab.test.ts',
  },
  'health.md': {
    because: 'its findings are of real hosts, and the way between them',
    test: 'test/doctor.lab.test.ts',
  },
  'metrics-and-logs.md': {
    because: 'it is read with other tools, and printed from the table of metrics',
    test: 'test/health-pages.test.ts',
  },
  'kernels.md': {
    because: 'it is about the kernel under the datapath',
    test: 'src/datapath/ebpf/clsact.test.ts',
  },
  'limits-and-counters.md': {
    because: 'its command reads maps of the kernel',
    test: 'test/stats.lab.test.ts',
  },
  'underlay.md': {
    because: 'it says what the pages that it links to show',
    test: 'test/underlay.lab.test.ts',
  },
  'upgrades.md': {
    because: 'it is about processes that are killed and replaced',
    test: 'test/upgrade.test.ts',
  },
};

/** Whether a page says which hosts and workloads there are. */
export const hasLab = (text: string): boolean => /^```lab$/m.test(text);

/** One page, from the root. */
export interface Page {
  readonly path: string;
  readonly text: string;
}
export const readPage = (path: string): Page => ({
  path,
  text: readFileSync(join(ROOT, path), 'utf8'),
});

const pagesIn = (folder: string): Page[] =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => readPage(`${folder}/${name}`));

export const guidePages = (): Page[] => pagesIn(GUIDE);

/** Everything that plays in the world. */
export const playedPages = (): Page[] => [
  ...pagesIn(SCENARIOS),
  ...[...guidePages(), ...OTHERS.flatMap(pagesIn)].filter(({ text }) => hasLab(text)),
];

/**
 * Everything that plays in the lab as well. Of the guide, first steps are typed there by a test of
 * their own; the others show nothing on real wires that these do not.
 */
export const labPages = (): Page[] => pagesIn(SCENARIOS);
