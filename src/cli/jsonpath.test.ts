/** Templates: what each form says of a value, and how what is none of them is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTemplate, TemplateError } from './jsonpath.ts';

const PORTS = [
  { name: 'vm1', mtu: 1500, up: true, addresses: [{ ip: '10.0.1.2' }, { ip: 'fd00::2' }] },
  { name: 'vm2', mtu: 9000, up: false, addresses: [] },
  { name: 'a b', tenant: "o'neill", up: true },
];

test('each form finds what it says', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['{.items[*].name}', 'vm1\nvm2\na b\n'],
    ['.items[*].name', 'vm1\nvm2\na b\n'],
    ['items[0].name', 'vm1\n'],
    ['{[*].name}', 'vm1\nvm2\na b\n'],
    ['{$[-1].name}', 'a b\n'],
    ['{[7].name}', ''],
    ['{[-4].name}', ''],
    ['{[0:2].name}', 'vm1\nvm2\n'],
    ['{[1:].name}', 'vm2\na b\n'],
    ['{[:-1].name}', 'vm1\nvm2\n'],
    ["{[0]['name']}", 'vm1\n'],
    ['{[?(@.up==true)].name}', 'vm1\na b\n'],
    ['{.items[?(@.name=="vm2")].mtu}', '9000\n'],
    [`{[?(@.tenant=='o\\'neill')].name}`, 'a b\n'],
    ['{[?(@.name!="vm2")].name}', 'vm1\na b\n'],
    ['{[?(@.mtu > 1500)].name}', 'vm2\n'],
    ['{[?(@.mtu<=1500)].name}', 'vm1\n'],
    ['{[?(@.tenant)].name}', 'a b\n'],
    ['{[?(@.addresses[*].ip=="fd00::2")].name}', 'vm1\n'],
    ['{[0].addresses}', '[{"ip":"10.0.1.2"},{"ip":"fd00::2"}]\n'],
    ['{[0].addresses[0].*}', '10.0.1.2\n'],
    ['{[*].nothing}', ''],
    ['ports: {[*].name}', 'ports: vm1 vm2 a b\n'],
    ['{range .items[*]}{.name}{"\\t"}{.mtu}{"\\n"}{end}', 'vm1\t1500\nvm2\t9000\na b\t\n'],
    [
      '{range [0:2]}{.name}:{range .addresses[*]} {.ip}{end}{"\\n"}{end}',
      'vm1: 10.0.1.2 fd00::2\nvm2:\n',
    ],
  ];
  for (const [text, expected] of cases)
    assert.equal(parseTemplate(text).render(PORTS), expected, text);
});

test('an object is reached like a list, and nothing is inherited', () => {
  const one = { name: 'b1', items: [{ id: 1 }] };
  assert.equal(parseTemplate('{.name}').render(one), 'b1\n');
  assert.equal(parseTemplate('{.items[0].id}').render(one), '1\n');
  assert.equal(parseTemplate('{.constructor}{.length}').render(one), '');
});

test('what is no template is refused with its place', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /^character 1: wanted a path/],
    ['{.name', /^character 7: wanted '}', found the end/],
    ['{..name}', /^character 3: wanted a field's name, found '.name}'/],
    ['{[1,2]}', /^character 4: wanted '\]', found ',2\]}'/],
    ['{[?@.a==1]}', /^character 4: wanted '\('/],
    ['{[?(@.a==x)]}', /wanted a string, a number, true, false or null/],
    ['{[?(@.a=="x" && @.b)]}', /wanted '\)'/],
    ['{["a\\q"]}', /the escapes of JSON/],
    ['{range [*]}{.name}', /wanted \{end\}, found the end/],
    ['{.name}{end}', /wanted \{range\} before \{end\}/],
    ['.name extra', /^character 6: wanted '\.' or '\['/],
    ['{range [*]}'.repeat(9), /at most 8 ranges/],
  ];
  for (const [text, expected] of cases)
    assert.throws(
      () => parseTemplate(text),
      (error) => error instanceof TemplateError && expected.test(error.message),
      text,
    );
});
