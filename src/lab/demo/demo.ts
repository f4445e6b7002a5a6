/**
 * `mn lab demo`: the main job of the product, shown and checked in one go. Every act prints one
 * line a check; the last line counts them. The lab is taken down whatever happens, unless it is to
 * be kept.
 */
import { cleanLab, remains } from '../clean.ts';
import { readJournal } from '../journal.ts';
import { announce, logTails, makeLab, openLab, type Lab } from '../lab.ts';
import { lockLab } from '../lock.ts';
import { labDir } from '../names.ts';
import { startNothingMore } from '../processes.ts';
import { readRecipe } from '../recipe.ts';
import { Cast } from '../stage.ts';
import { batchesEnd } from '../wires.ts';
import type { Act } from './act.ts';
import { balance } from './balance.ts';
import { firewall } from './firewall.ts';
import { flows } from './flows.ts';
import { forged, outsideOf } from './forged.ts';
import { isolation } from './isolation.ts';
import { reach } from './reach.ts';
import { Report } from './report.ts';
import { restart } from './restart.ts';
import { routers } from './routers.ts';
import { throughput } from './throughput.ts';
import { trace } from './trace.ts';
import { translation } from './translation.ts';

const LAB = 'demo';
/** Two workloads of one tenant on different hosts. */
const [FROM, TO] = ['red1', 'red3'] as const;

export async function runDemo({ keep = false }: { readonly keep?: boolean }): Promise<void> {
  const report = new Report((line) => console.log(line));
  using lock = lockLab(LAB);
  const interruption = onSignals(report, lock);
  report.note('a lab on this machine, in namespaces of its own; a minute and a half');
  try {
    await removeOld(report);
    await play(report);
  } catch (error) {
    await interruption.wait();
    const reason = error instanceof Error ? error.message : String(error);
    report.check(false, 'the demo runs to its end', { expected: 'its end', actual: reason });
  }
  if (report.failed > 0 && readJournal(LAB) !== undefined) {
    report.note(`logs:${logTails(openLab(LAB))}`);
  }
  if (keep) sayHowToLook(report);
  else await takeDown(report);
  await interruption.wait();
  interruption.ignore();
  report.end();
  process.exitCode = report.failed === 0 ? 0 : 1;
}

async function removeOld(report: Report): Promise<void> {
  if (readJournal(LAB) === undefined) return;
  report.note('removing what an earlier run left');
  await cleanLab(LAB);
}

async function play(report: Report): Promise<void> {
  const recipe = readRecipe('demo');
  report.act('1. A lab');
  report.note(recipe.about);
  const journal = announce(LAB, recipe);
  const lab = await makeLab(journal, (line) => report.note(line));
  describe(lab, report);
  const act: Act = { lab, report, cast: new Cast(lab) };
  report.act('2. Each network reaches itself, in one hop');
  await reach(act);
  report.act('3. Only the first packet costs anything');
  await flows(act, FROM, TO);
  report.act('4. No network reaches another');
  await isolation(act);
  report.act('5. Nor does anybody on the underlay');
  const [intruder] = recipe.outsiders;
  const liar = outsideOf(lab);
  if (intruder === undefined || liar === undefined) throw new Error('the recipe has no forgers');
  await forged(act, { intruder, ...liar });
  report.act('6. Why');
  await trace(act, FROM, TO);
  report.act('7. Through routers, still in one hop');
  await routers(act, 'green1', 'green2');
  report.act('8. Answers come back, and nothing else');
  await firewall(act, FROM, TO);
  report.act('9. Out by one address, and a floating one');
  await translation(act, 'green1', 'green2');
  report.act('10. A service loses a member under load');
  await balance(act, 'green2', { stays: 'green1', goes: 'green3' });
  report.act('11. Agents may die');
  await restart(act, FROM, TO);
  report.act('12. How fast');
  await throughput(act, FROM, TO);
}

function describe({ recipe }: Lab, report: Report): void {
  for (const host of recipe.hosts) {
    const here = Object.entries(recipe.workloads).filter(([, workload]) => workload.host === host);
    const names = here.map(([name, { addresses }]) => `${name} ${addresses[0]}`);
    report.note(`${host}: ${names.join(', ')}`);
  }
}

async function takeDown(report: Report): Promise<void> {
  report.act('13. Gone');
  const namespaces = readJournal(LAB)?.namespaces ?? [];
  await cleanLab(LAB, true);
  const left = remains(LAB, namespaces);
  report.equal(left.join(', '), '', 'no process, namespace, mount or file is left behind');
}

function sayHowToLook(report: Report): void {
  report.act('The lab stays up');
  for (const line of [
    './midonet lab sh                       a shell in which mn speaks to the lab:',
    "  mn status    mn port list    mn trace red1 '… > … udp 10.0.0.1:1 > 10.0.0.3:2'",
    './midonet lab check                    who reaches whom',
    './midonet lab run red1 ping 10.0.0.3   any command inside a workload or host',
    './midonet lab down                     the end',
    `logs: ${labDir(LAB)}/logs`,
  ])
    report.note(line);
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SIGNAL_EXIT = 130;

interface Interruption {
  /** Returns unless somebody has interrupted: then the process ends elsewhere, when all is gone. */
  wait(): Promise<void>;
  ignore(): void;
}

/** Takes the lab down when somebody interrupts; a second signal ends at once. */
function onSignals(report: Report, lock: Disposable): Interruption {
  let interrupted = false;
  const takeDownAndExit = async (): Promise<never> => {
    try {
      await batchesEnd();
      await cleanLab(LAB);
      console.log('the lab is gone');
    } catch (error) {
      console.error(`${String(error)}; ./midonet lab clean removes the rest`);
    }
    lock[Symbol.dispose]();
    process.exit(SIGNAL_EXIT);
  };
  const interrupt = (): void => {
    if (interrupted) process.exit(SIGNAL_EXIT);
    interrupted = true;
    report.mute();
    startNothingMore();
    console.log('\ninterrupted: taking the lab down');
    void takeDownAndExit();
  };
  for (const name of SIGNALS) process.on(name, interrupt);
  return {
    wait: () => (interrupted ? new Promise(() => {}) : Promise.resolve()),
    ignore() {
      for (const name of SIGNALS) process.off(name, interrupt);
    },
  };
}
