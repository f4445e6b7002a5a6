/** The grammar and the aliases of midonet-cli, over the real API in this process. */
import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import { openNode } from '#api/fixture.ts';
import type { Client } from '#client/types.ts';
import { EXIT } from '../io.ts';
import { mn, type Ran } from '../testing.ts';
import { midonetInterpreter } from './interpreter.ts';

/** Lines of one session, and what each of them printed. */
const session = (client: Client, text: string): Promise<Ran> =>
  mn(client, 'shell --midonet --keep-going', {
    console: {
      input: Readable.from([text]),
      output: new PassThrough(),
      interactive: false,
      onInterrupt: () => () => undefined,
    },
  });

const NETWORK = `host create name h1
tunnel-zone create name tz type vxlan
tunnel-zone tzone0 add member host host0 address 172.16.0.1
bridge create name b1
bridge create name b2 state down
bridge bridge0 add port
create port
bridge bridge0 add port name vm1 addresses mac=02:00:00:00:01:02,ip=10.0.1.2
router create name r0
router router0 add port mac 02:00:00:00:01:01 address 10.0.1.1 net 10.0.1.0/24
router router0 port port0 set peer bridge0:port0
router router0 add route type normal src 0.0.0.0/0 dst 10.9.0.0/16 gw 10.0.1.2 port router0:port0 weight 50
host host0 add binding port bridge0:port1 interface eth0
`;

test('the network of the manual is built, listed and changed by its aliases', async () => {
  await using node = openNode();
  const ran = await session(
    node.operator,
    `${NETWORK}bridge list
list bridge state down
bridge list name !b1
bridge0:port list
bridge bridge0 list port device bridge0
bridge0:port1 show
router router0 list route
show router0:route0
port list peer bridge0:port0
host list
host host0 list binding
tunnel-zone tzone0 member list
set bridge1 state up name b3
bridge b3 show
clear bridge0:port0 peer
bridge0:port0 show
bridge bridge0 delete port port1
bridge0 port list
tunnel-zone tzone0 delete member member0
tzone0:member list
`,
  );
  assert.equal(
    ran.out,
    `host0
tzone0
tzone0:member0
bridge0
bridge1
bridge0:port0
bridge0:port1
router0
router0:port0
router0:route0
host0:binding0
bridge bridge0 name b1 state up
bridge bridge1 name b2 state down
bridge bridge1 name b2 state down
bridge bridge1 name b2 state down
port bridge0:port0 name b1-port0 state up peer router0:port0 hairpin false security off device bridge0
port bridge0:port1 name vm1 state up host host0 interface eth0 hairpin false addresses mac=02:00:00:00:01:02,ip=10.0.1.2 security off device bridge0
port bridge0:port0 name b1-port0 state up peer router0:port0 hairpin false security off device bridge0
port bridge0:port1 name vm1 state up host host0 interface eth0 hairpin false addresses mac=02:00:00:00:01:02,ip=10.0.1.2 security off device bridge0
port bridge0:port1 name vm1 state up host host0 interface eth0 hairpin false addresses mac=02:00:00:00:01:02,ip=10.0.1.2 security off device bridge0
route router0:route0 dst 10.9.0.0/16 src 0.0.0.0/0 type normal port router0:port0 gw 10.0.1.2 weight 50
route router0:route0 dst 10.9.0.0/16 src 0.0.0.0/0 type normal port router0:port0 gw 10.0.1.2 weight 50
port router0:port0 name r0-port0 state up peer bridge0:port0 mac 02:00:00:00:01:01 device router0 address 10.0.1.1 net 10.0.1.0/24
host host0 name h1 alive false
binding host0:binding0 port bridge0:port1 interface eth0
member tzone0:member0 host host0 address 172.16.0.1
bridge bridge1 name b3 state up
port bridge0:port0 name b1-port0 state up hairpin false security off device bridge0
port bridge0:port0 name b1-port0 state up hairpin false security off device bridge0
`,
  );
  assert.match(ran.err, /^error: a port is made below its device\nhint: router router0 add port\n/);
  assert.match(ran.err, /error: line 7: create port\n$/);
});

test('-e prints ids, and one line is one session', async () => {
  await using node = openNode();
  const made = await mn(node.operator, 'shell --midonet -e "bridge create name b1"');
  const { id } = await node.operator.get('bridge', 'b1');
  assert.deepEqual(made, { code: EXIT.ok, out: `${id}\n`, err: '' });
  const shown = await mn(node.operator, `shell --midonet -e bridge ${id} show`);
  assert.equal(shown.out, `bridge ${id} name b1 state up\n`);
  const port = await mn(node.operator, 'shell --midonet -e bridge b1 add port');
  assert.equal(port.out, `${(await node.operator.get('port', 'b1-port0')).id}\n`);
});

test('a tenant that is set owns what is made, and is all that is listed', async () => {
  await using node = openNode();
  const { out } = await session(
    node.operator,
    'sett acme\nbridge create name a\ncleart\nbridge create name b\nbridge list\nsett acme\nlist bridge\n',
  );
  assert.deepEqual(out.split('\n').slice(2, 5), [
    'bridge bridge0 name a tenant acme state up',
    'bridge bridge1 name b state up',
    'bridge bridge0 name a tenant acme state up',
  ]);
});

test('what is wrong is told with what to type, by the codes of every command', async () => {
  await using node = openNode();
  await session(node.operator, NETWORK);
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ['chain list', 2, /there is no chain here\nhint: There are: bridge, router, port, /],
    ['brigde list', 2, /'brigde' is no type and no verb\nhint: Did you mean bridge\?/],
    ['bridge7 show', 2, /'bridge7' is no alias of this session\nhint: Aliases are given when/],
    ['bridge b1', 2, /there is no verb/],
    ['bridge set', 2, /set what\? Name one bridge\nhint: bridge list/],
    [
      'bridge create nmae x',
      2,
      /has no attribute 'nmae'\nhint: Did you mean name\? The attributes/,
    ],
    ['bridge create name', 2, /attribute 'name' needs a value/],
    ['bridge b1 set name a name b', 2, /attribute 'name' is given twice/],
    ['bridge b1 set state maybe', 2, /must be true or false, not 'maybe'/],
    ['bridge b9x show', 1, /no bridge is named "b9x"/],
    ['bridge create name ""', 1, /error: The request is not valid\n {2}name: /],
    ['router r0 add port address 10.0.1.1', 2, /address and net go together/],
    ['router r0 add port address 10.0.2.1 net 10.0.1.0/24', 2, /10.0.2.1 is not in 10.0.1.0\/24/],
    ['tunnel-zone create name t type gre', 2, /type 'gre': tunnels are vxlan/],
    ['host h1 add binding port vm1', 2, /a binding needs port and interface/],
    ['member list', 2, /'member' is no type and no verb/],
    ['describe', 2, /describe what\?/],
  ];
  for (const [line, code, expected] of cases) {
    const ran = await mn(node.operator, `shell --midonet -e ${line}`);
    assert.match(ran.err, expected, line);
    assert.equal(ran.code, code, line);
  }
});

test('completion knows verbs, types, attributes, their values and live aliases', async () => {
  await using node = openNode();
  await session(node.operator, NETWORK);
  const io = { client: node.operator, out: () => {}, err: () => {} };
  const shell = midonetInterpreter(io, false);
  const words = async (...typed: string[]): Promise<string[]> =>
    (await shell.complete(typed)).map(({ text }) => text);
  assert.deepEqual(await words('bri'), ['bridge']);
  assert.deepEqual(await words('bridge', 'b'), ['bridge0', 'bridge1']);
  const verbs = ['list', 'show', 'create', 'add', 'set', 'clear', 'delete', 'describe'];
  assert.deepEqual(await words('bridge', 'bridge0', ''), ['port', ...verbs]);
  assert.deepEqual(await words('bridge0', 'set', 'st'), ['state']);
  assert.deepEqual(await words('bridge0', 'set', 'state', ''), ['up', 'down']);
  assert.deepEqual(await words('router', 'r0', 'add', 'route', 'type', 'n'), ['normal']);
  assert.deepEqual(await words('host', 'h1', 'add', 'binding', 'port', 'bridge0:port'), [
    'bridge0:port0',
    'bridge0:port1',
  ]);
});
