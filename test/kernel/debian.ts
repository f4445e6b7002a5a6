/**
 * `./midonet test --kernel debian [--only PATTERN] [FILE…]`: what the datapath promises, on the
 * kernel that Debian ships, in an emulated guest: the contract of a datapath, adoption and
 * teardown, interfaces that only that kernel has modules for, networks over two hosts with real
 * agents.
 *
 * With FILEs only those test files run; with a PATTERN only tests whose names match. It is not part
 * of the default run: it takes minutes, and fetches a kernel the first time. Prints the runner's
 * lines and exits as the tests do.
 */
import { parseArgs } from 'node:util';
import { PATIENCE, quote, runInGuest } from './guest.ts';

/** Of the whole run, from boot to end. */
const LIMIT_SECONDS = 3600;
/** Of one test, in place of the 300 s that a machine has. */
const TEST_SECONDS = 300 * PATIENCE;

const FILES = [
  'src/datapath/ebpf/contract.test.ts',
  'src/datapath/ebpf/clsact.test.ts',
  'src/datapath/ebpf/lifecycle.test.ts',
  'src/datapath/ebpf/stacked.test.ts',
  'src/os/netlink/links.test.ts',
] as const;
/** Pages of two hosts: a switch across them, and an agent that is killed and comes back. */
const SCENARIO_FILE = 'test/scenarios.lab.test.ts';
const SCENARIOS = 'a-switch-across-hosts|an-agent-restarts';

/** A line of shell. One file at a time: the guest has few CPUs, and they are slow. */
function runner(files: readonly string[], only: string | undefined): string {
  const args = ['--test', '--test-reporter=spec', '--test-concurrency=1'];
  args.push(`--test-timeout=${TEST_SECONDS * 1000}`);
  if (only !== undefined) args.push(`--test-name-pattern=${only}`);
  return ['node', ...args, ...files].map(quote).join(' ');
}

const { values, positionals } = parseArgs({
  options: { kernel: { type: 'string' }, only: { type: 'string' } },
  allowPositionals: true,
});
if (values.kernel !== 'debian') throw new Error('--kernel must be debian');
const { only } = values;
const lines =
  positionals.length > 0
    ? [runner(positionals, only)]
    : [runner(FILES, only), runner([SCENARIO_FILE], only ?? SCENARIOS)];
const script = ['uname -sr; modprobe tun; failed=0', ...lines.map((line) => `${line} || failed=1`)];
process.exitCode = await runInGuest({
  command: ['sh', '-c', [...script, 'exit $failed'].join('\n')],
  seconds: LIMIT_SECONDS,
});
