/**
 * What midonet-cli calls the things that there are here: its types, their aliases, and its words
 * for fields. A field that has no word of its own goes by its flag. Data only.
 */
import type { KindName } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { type FieldSpec, settableFields } from '../fields.ts';

export const TYPE_NAMES = [
  'bridge',
  'router',
  'port',
  'route',
  'host',
  'binding',
  'tunnel-zone',
  'member',
] as const;
export type TypeName = (typeof TYPE_NAMES)[number];

export interface Attribute {
  readonly name: string;
  readonly about: string;
  /** The field that it is; undefined: it is worked out, and cannot be set by itself. */
  readonly field?: FieldSpec;
  /** Its values in words of midonet-cli, by the value of the field. */
  readonly words?: Readonly<Record<string, string>>;
}

export interface Type {
  readonly name: TypeName;
  /** What aliases begin with: `tzone` of `tzone0`. */
  readonly alias: string;
  /** The kind that it is; `binding` and `member` are parts of others. */
  readonly kind: KindName | undefined;
  /** What is listed below one of it. */
  readonly children: readonly TypeName[];
  readonly about: string;
}

const type = (name: TypeName, of: Partial<Type> & Pick<Type, 'about'>): Type => ({
  name,
  alias: name,
  kind: undefined,
  children: [],
  ...of,
});
export const TYPES: Readonly<Record<TypeName, Type>> = {
  bridge: type('bridge', { kind: 'bridge', children: ['port'], about: 'virtual switches' }),
  router: type('router', {
    kind: 'router',
    children: ['port', 'route'],
    about: 'virtual routers',
  }),
  port: type('port', { kind: 'port', about: 'ports of bridges and routers' }),
  route: type('route', { kind: 'route', about: 'routes of a router' }),
  host: type('host', { kind: 'host', children: ['binding'], about: 'machines that run an agent' }),
  binding: type('binding', { about: 'ports on interfaces of a host' }),
  'tunnel-zone': type('tunnel-zone', {
    alias: 'tzone',
    kind: 'tunnel-zone',
    children: ['member'],
    about: 'hosts that reach each other',
  }),
  member: type('member', { about: 'the hosts of a tunnel zone' }),
};
export const ROOTS: readonly TypeName[] = ['bridge', 'router', 'port', 'host', 'tunnel-zone'];

/** Types of midonet-cli that are not there (yet): so that the error is no riddle. */
export const MISSING: readonly string[] = [
  'chain',
  'rule',
  'port-group',
  'ip-address-group',
  'load-balancer',
  'health-monitor',
  'mirror',
  'vtep',
  'l2insertion',
  'qos-policy',
  'tracerequest',
  'container',
  'container-group',
  'dhcp',
  'bgp-peer',
  'bgp-network',
];

const STATE = { true: 'up', false: 'down' } as const;
const ROUTE_TYPES = { port: 'normal' } as const;
/** Words for fields, by kind: `dst` for `destination`. */
const WORDS: Readonly<Partial<Record<KindName, Readonly<Record<string, string>>>>> = {
  bridge: { adminStateUp: 'state' },
  router: { adminStateUp: 'state' },
  port: { adminStateUp: 'state' },
  route: { source: 'src', destination: 'dst', gateway: 'gw' },
};
/** Fields that say where an object is: they follow from the path. */
const PLACES: Readonly<Partial<Record<KindName, readonly string[]>>> = {
  port: ['bridge', 'router', 'type', 'networks'],
  route: ['router'],
  'tunnel-zone': ['members'],
};

const worked = (name: string, about: string): Attribute => ({ name, about });
const WORKED: Readonly<Partial<Record<TypeName, readonly Attribute[]>>> = {
  port: [
    worked('device', 'The bridge or router that it is a port of.'),
    worked('address', 'Of a router port: its address; with net.'),
    worked('net', 'Of a router port: the network of its address, 10.0.0.0/24.'),
  ],
  host: [worked('alive', 'Whether its agent is heard of.')],
  'tunnel-zone': [worked('type', 'vxlan: there is no other.')],
  binding: [
    worked('port', 'The port that is carried.'),
    worked('interface', 'The interface that carries it.'),
  ],
  member: [worked('host', 'The host.'), worked('address', 'Its address on the underlay.')],
};

/** All attributes of a type, in the order in which they are shown. */
export function attributesOf(name: TypeName): readonly Attribute[] {
  const { kind } = TYPES[name];
  const extra = WORKED[name] ?? [];
  if (kind === undefined) return extra;
  const fields = settableFields(kindOf(kind)).filter(
    (field) => PLACES[kind]?.includes(field.name) !== true,
  );
  const own = fields.map((field): Attribute => {
    const word = WORDS[kind]?.[field.name] ?? field.flag;
    const words =
      field.name === 'adminStateUp'
        ? STATE
        : kind === 'route' && field.name === 'type'
          ? ROUTE_TYPES
          : undefined;
    return { name: word, about: field.about, field, ...(words !== undefined && { words }) };
  });
  return [...own, ...extra];
}
