/** TCP headers, their flags and options. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCodec, tcps } from '../arbitraries.test.ts';
import type { Ip4 } from '../ip.ts';
import { decodeTcp, describeTcp, describeTcpFlags, encodeTcp, TCP_FLAG, tcpSize } from './tcp.ts';

test('codec', () => {
  checkCodec({ arbitrary: tcps, size: tcpSize, encode: encodeTcp, decode: decodeTcp });
});

test('refused: a data offset below five words or past the end', () => {
  const bytes = new Uint8Array(24);
  for (let words = 0; words < 16; words++) {
    bytes[12] = words << 4;
    const decodes = decodeTcp(bytes, 0, bytes.length) !== undefined;
    assert.equal(decodes, words === 5 || words === 6, `${words} words`);
  }
});

test('description', () => {
  assert.equal(describeTcpFlags(TCP_FLAG.ack | TCP_FLAG.syn), 'syn ack');
  assert.equal(describeTcpFlags(0xff), 'syn ack psh fin rst urg ece cwr');
  assert.equal(describeTcpFlags(0), 'noflags');
  const bytes = new Uint8Array(20);
  bytes.set([4, 0, 0, 80], 0);
  bytes.set([0x50, 0x02], 12);
  const tcp = decodeTcp(bytes, 0, 20);
  assert.equal(
    tcp && describeTcp(0x0a000001 as Ip4, 0x0a000002 as Ip4, tcp),
    'tcp 10.0.0.1:1024 > 10.0.0.2:80 syn',
  );
});
