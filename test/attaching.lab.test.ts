/**
 * The commands of docs/guide/attaching.md do what the page says, on a host of a lab; and a real
 * agent sends frames straight to a container only while there is one.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cleanLab } from '#lab/clean.ts';
import { announce, makeLab, namespaceOf, shellEnvironment, type Lab } from '#lab/lab.ts';
import { lockLab } from '#lab/lock.ts';
import { ping } from '#lab/ping.ts';
import { inside, until } from '#lab/processes.ts';
import { readRecipe } from '#lab/recipe.ts';
import { ipBatch } from '#lab/wires.ts';
import { run, runOk } from '#os/run.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const NAME = testLabName('attach');
const PAGE = join(import.meta.dirname, '../docs/guide/attaching.md');
const DEADLINE_MS = 60_000;
/** The page's namespace, under a name that is this run's own. */
const WEB = `mnt-${process.pid}-web`;
const ADDRESS = '10.1.0.21';
const PINGS = 20;

/** The commands of a page, by the heading they are under. */
function commandsOf(page: string): Map<string, string[]> {
  const sections = new Map<string, string[]>();
  for (const section of page.split(/^## /m).slice(1)) {
    const blocks = section.matchAll(/^```console\n([\s\S]*?)^```/gm);
    const lines = [...blocks].flatMap(([, block = '']) => block.trim().split('\n'));
    const commands = lines.filter((line) => line.startsWith('# ')).map((line) => line.slice(2));
    if (commands.length > 0) sections.set(section.split('\n')[0] ?? '', commands);
  }
  return sections;
}

describe('the page about attaching', { skip }, () => {
  let lab: Lab;
  let lock: Disposable;
  const sections = commandsOf(readFileSync(PAGE, 'utf8'));

  before(async () => {
    await sweepLabs();
    lock = lockLab(NAME);
    lab = await makeLab(announce(NAME, readRecipe('pair')), () => {});
    const host = namespaceOf(lab, 'h1');
    await ipBatch([`link add eth1 netns ${host} type veth peer name wire netns ${host}`]);
  });
  after(async () => {
    await run('ip', ['netns', 'delete', WEB]);
    await cleanLab(NAME);
    lock[Symbol.dispose]();
  });

  /** Runs the commands of a section on the host; what they printed. */
  async function follow(heading: string): Promise<string> {
    let said = '';
    for (const line of sections.get(heading) ?? assert.fail(`no commands under ${heading}`)) {
      const command = line.replaceAll(/(netns(?: add| exec| delete)?|-n) web\b/g, `$1 ${WEB}`);
      const [program = '', ...args] = inside(NAME, 'h1', ['bash', '-o', 'pipefail', '-c', command]);
      const env = shellEnvironment(lab);
      said += await runOk(program, args, { env, deadlineMs: DEADLINE_MS });
    }
    return said;
  }
  /** Frames that left by the host's end of the container's cable. */
  async function sent(): Promise<number> {
    const show = ['-n', namespaceOf(lab, 'h1'), '-j', '-s', 'link', 'show', 'dev', 'web0'];
    const [link] = JSON.parse(await runOk('ip', show)) as [
      { readonly stats64: { readonly tx: { readonly packets: number } } },
    ];
    return link.stats64.tx.packets;
  }
  const reaches = async (): Promise<void> => {
    for (const from of ['vm1', 'vm2'])
      await until(`${from} reaches the container`, DEADLINE_MS, async () => {
        const { sent: asked, received } = await ping(lab, from, ADDRESS, { count: 3 });
        return received === asked;
      });
  };

  test('a container, also moved into the host and back', async () => {
    assert.match(await follow('A container'), /--no-peer-redirect/);
    await reaches();
    const pings = async (): Promise<number> => {
      const before = await sent();
      await Promise.all(['vm1', 'vm2'].map((from) => ping(lab, from, ADDRESS, { count: PINGS })));
      return (await sent()) - before;
    };
    // The agent hears of it a moment after the frames get there.
    const goStraight = (): Promise<unknown> =>
      until('frames go straight', DEADLINE_MS, async () => (await pings()) < PINGS);
    await goStraight();

    const host = namespaceOf(lab, 'h1');
    const up = ['link set eth0 up', `address add ${ADDRESS}/24 dev eth0`];
    await ipBatch([`link set eth0 netns ${host}`], WEB);
    await ipBatch(up, host);
    await reaches();
    await until(
      "frames go by the host's end",
      DEADLINE_MS,
      async () => (await pings()) >= 2 * PINGS,
    );
    await ipBatch([`link set eth0 netns ${WEB}`], host);
    await ipBatch(up, WEB);
    await reaches();
    await goStraight();
  });

  test('a VM, a card, and the end', async () => {
    assert.match(await follow('A VM'), /tap/);
    assert.match(await follow('A card of the host'), /eth1/);
    const { hosts } = await lab.client.status();
    const report = hosts.find(({ name }) => name === 'h1')?.report;
    assert.deepEqual(report?.portsDown, []);
    await follow('Clean up');
    const names = (await lab.client.listAll('port')).map(({ name }) => name);
    assert.deepEqual(names.toSorted(), ['vm1', 'vm2']);
  });
});
