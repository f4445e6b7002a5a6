/**
 * Examples in the help of commands. Each is run as a test in one world: hosts h1 and h2; bridges b1
 * and b2, joined by router r0 (ports r0-b1, b1-r0, r0-b2, b2-r0); workloads at ports vm1 (b1, h1,
 * 10.0.1.2) and vm2 (b2, h2, 10.0.2.2). `# exit N` behind one says that it fails, and how.
 */
import type { Command } from 'commander';
import type { KindName } from '#virtual/kind.ts';

/** Adds examples, whole lines, to the help of a command. */
export const examples = (command: Command, lines: readonly string[]): Command =>
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  ${line}\n`).join('')}`);

export type Verb = 'list' | 'show' | 'create' | 'update' | 'delete';
type Lines = readonly string[];
/** Those of a kind's own verbs; hosts write the rows of kinds without the last three. */
interface OfKind {
  readonly list: Lines;
  readonly show: Lines;
  readonly create?: Lines;
  readonly update?: Lines;
  readonly delete?: Lines;
}

export const KIND_EXAMPLES: Readonly<Record<KindName, OfKind>> = {
  'tunnel-zone': {
    list: ['mn tunnel-zone list', 'mn tunnel-zone list --where members.host=h1'],
    show: ['mn tunnel-zone show underlay'],
    create: ['mn tunnel-zone create rack7 --members host=h1,address=172.17.0.1'],
    update: [
      'mn tunnel-zone update underlay --remove-members host=h2',
      'mn tunnel-zone update underlay --name metal',
    ],
    delete: ['mn tunnel-zone delete underlay'],
  },
  host: {
    list: ['mn host list', "mn host list --where name~h -o 'jsonpath={.items[*].id}'"],
    show: ['mn host show h1', 'mn host show h9   # exit 1: there is none'],
    create: ['mn host create h3'],
    update: ['mn host update h2 --name compute2'],
    delete: ['mn host create h4', 'mn host delete h4'],
  },
  chain: {
    list: ['mn chain list', 'mn chain list --where tenant=acme'],
    show: ['mn chain create web', 'mn chain show web'],
    create: ['mn chain create web', 'mn chain create db --tenant acme'],
    update: ['mn chain create web', 'mn chain update web --name front'],
    delete: ['mn chain create web', 'mn chain delete web'],
  },
  'address-group': {
    list: ['mn address-group list'],
    show: [
      'mn address-group create office --addresses 192.0.2.0/24',
      'mn address-group show office',
    ],
    create: [
      'mn address-group create office --addresses 192.0.2.0/24,2001:db8::7',
      'mn address-group create blocked',
    ],
    update: [
      'mn address-group create blocked',
      'mn address-group update blocked --add-addresses 198.51.100.9 --wait',
    ],
    delete: ['mn address-group create blocked', 'mn address-group delete blocked'],
  },
  bridge: {
    list: ['mn bridge list', 'mn bridge list --where admin-state-up=false -o json'],
    show: ['mn bridge show b1', 'mn bridge show b1 -o yaml'],
    create: ['mn bridge create web', 'mn bridge create db --tenant acme --wait'],
    update: ['mn bridge update b1 --admin-state-up false --wait', 'mn bridge update b1 --name b7'],
    delete: ['mn bridge delete b1 b2'],
  },
  router: {
    list: ['mn router list', 'mn router list --sort -name'],
    show: ['mn router show r0'],
    create: ['mn router create edge', 'mn router create r1 --tenant acme'],
    update: ['mn router update r0 --admin-state-up false'],
    delete: ['mn router delete r0 --wait'],
  },
  port: {
    list: [
      'mn port list --where bridge=b1',
      "mn port list --where 'mtu>1400' --where host!=h1 --sort bridge,-name -o wide",
      'mn port list -o \'jsonpath={range .items[*]}{.name} {.interface}{"\\n"}{end}\'',
      'mn port list --watch',
    ],
    show: ['mn port show vm1', 'mn port show vm1 -o jsonpath=.interface'],
    create: [
      'mn port create vm3 --bridge b1 --addresses mac=02:00:00:00:01:03,ip=10.0.1.3',
      'mn port create r0-up --router r0 --networks 192.0.2.1/24,2001:db8::1/64',
      'mn port create vm4 --bridge b2 --host h1 --interface vm4 --wait',
    ],
    update: [
      'mn port update vm1 --add-addresses mac=02:00:00:00:01:02,ip=10.0.1.12',
      'mn port update r0-b1 --mtu 1400',
      'mn port update r0-b1 --unset mtu',
    ],
    delete: ['mn port delete vm1 vm2', 'mn port delete vm9   # exit 1: there is none'],
  },
  route: {
    list: [
      'mn route list --where router=r0',
      'mn route list --where destination~10. --sort weight',
    ],
    show: [
      'mn route create out --router r0 --destination 203.0.113.0/24 --type blackhole',
      'mn route show out',
    ],
    create: [
      'mn route create --router r0 --destination 0.0.0.0/0 --port r0-b2 --gateway 10.0.2.2',
      'mn route create no --router r0 --destination 198.51.100.0/24 --type reject',
    ],
    update: [
      'mn route create way --router r0 --destination 10.9.0.0/16 --port r0-b1 --gateway 10.0.1.2',
      'mn route update way --weight 50',
    ],
    delete: [
      'mn route create hole --router r0 --destination 192.0.2.0/24 --type blackhole',
      'mn route delete hole --wait',
    ],
  },
  'port-group': {
    list: ['mn port-group list'],
    show: ['mn port-group create servers --ports vm1,vm2', 'mn port-group show servers'],
    create: ['mn port-group create servers --ports vm1,vm2'],
    update: [
      'mn port-group create servers --ports vm1',
      'mn port-group update servers --add-ports vm2 --wait',
    ],
    delete: ['mn port-group create servers', 'mn port-group delete servers'],
  },
  rule: {
    list: ['mn rule list', 'mn rule list --where action=drop --sort chain,position'],
    show: [
      'mn chain create web',
      'mn rule create ping --chain web --action accept --protocol icmp',
      'mn rule show ping',
    ],
    create: [
      'mn chain create web',
      'mn rule create --chain web --action accept --protocol tcp --destination-ports 80',
      'mn rule create rest --chain web --action drop --source 10.0.2.0/24 --not source',
      'mn port update vm1 --inbound-filter web --wait',
    ],
    update: [
      'mn chain create web',
      'mn rule create ssh --chain web --action accept --protocol tcp --destination-ports 22',
      'mn rule update ssh --position 10 --source 192.0.2.0/24',
    ],
    delete: [
      'mn chain create web',
      'mn rule create rest --chain web --action drop',
      'mn rule delete rest',
    ],
  },
  'nat-block': {
    list: ['mn nat-block list', 'mn nat-block list --where host=h1'],
    show: ['mn nat-block show 1   # exit 1: there is none'],
  },
  'load-balancer': {
    list: ['mn load-balancer list'],
    show: ['mn load-balancer create lb --router r0', 'mn load-balancer show lb'],
    create: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn pool-member create --pool web --address 10.0.2.2 --port 80',
      'mn vip create www --load-balancer lb --pool web --address 198.51.100.80 --port 80',
    ],
    update: [
      'mn load-balancer create lb --router r0',
      'mn load-balancer update lb --admin-state-up false   # no new connections',
    ],
    delete: ['mn load-balancer create lb --router r0', 'mn load-balancer delete lb'],
  },
  'health-monitor': {
    list: ['mn health-monitor list'],
    show: ['mn health-monitor create alive', 'mn health-monitor show alive'],
    create: [
      'mn health-monitor create alive --type tcp --interval 2 --timeout 1',
      'mn health-monitor create page --type http --path /health --codes 200-299',
    ],
    update: ['mn health-monitor create alive', 'mn health-monitor update alive --fall 5'],
    delete: ['mn health-monitor create alive', 'mn health-monitor delete alive'],
  },
  pool: {
    list: ['mn pool list'],
    show: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn pool show web',
    ],
    create: [
      'mn load-balancer create lb --router r0',
      'mn pool create sorry --load-balancer lb',
      'mn pool create web --load-balancer lb --backup-pool sorry',
    ],
    update: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn health-monitor create alive',
      'mn pool update web --health-monitor alive --when-down drop',
    ],
    delete: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn pool delete web',
    ],
  },
  'pool-member': {
    list: ['mn pool-member list'],
    show: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn pool-member create web1 --pool web --address 10.0.2.2 --port 80',
      'mn pool-member show web1',
    ],
    create: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn pool-member create web1 --pool web --address 10.0.2.2 --port 80 --weight 3',
    ],
    update: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn pool-member create web1 --pool web --address 10.0.2.2 --port 80',
      'mn pool-member update web1 --weight 0   # those that it has go on',
    ],
    delete: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn pool-member create web1 --pool web --address 10.0.2.2 --port 80',
      'mn pool-member delete web1',
    ],
  },
  vip: {
    list: ['mn vip list'],
    show: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn vip create www --load-balancer lb --pool web --address 198.51.100.80 --port 80',
      'mn vip show www',
    ],
    create: [
      'mn load-balancer create lb --router r0',
      'mn pool create dns --load-balancer lb',
      'mn vip create ns --load-balancer lb --pool dns --address 198.51.100.53 --port 53 --protocol udp',
    ],
    update: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn vip create www --load-balancer lb --pool web --address 198.51.100.80 --port 80',
      'mn vip update www --persistence source-ip --persistence-timeout 600',
    ],
    delete: [
      'mn load-balancer create lb --router r0',
      'mn pool create web --load-balancer lb',
      'mn vip create www --load-balancer lb --pool web --address 198.51.100.80 --port 80',
      'mn vip delete www',
    ],
  },
  'member-health': {
    list: ['mn member-health list', 'mn member-health list --where status=down'],
    show: ['mn member-health show 1   # exit 1: there is none'],
  },
  location: {
    list: ['mn location list', 'mn location list --where host=h1 -o wide'],
    show: [
      "mn location list -o 'jsonpath={[0].id}'",
      'mn location show 1   # exit 1: there is none',
    ],
  },
};

/** The first example of each verb of a kind, for the kind's own help. */
export const firstExamples = (kind: KindName): Lines =>
  Object.values(KIND_EXAMPLES[kind] as unknown as Record<string, Lines>).map(
    ([first = '']) => first,
  );
