/** What wrk prints. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorText, failuresOf, readWrk, sumOf } from './wrk.ts';

const FINE = `Running 2s test @ http://203.0.113.80:80/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.17ms  512.09us  15.02ms   92.11%
    Req/Sec     1.30k    45.10     1.36k    75.00%
  2592 requests in 2.00s, 392.34KB read
Requests/sec:   1294.28
Transfer/sec:    195.91KB
`;
const ILL = `${FINE}`.replace(
  'Requests/sec',
  '  Socket errors: connect 3, read 8, write 0, timeout 1\n  Non-2xx or 3xx responses: 2\nRequests/sec',
);

test('requests and errors are read; anything else is no result', () => {
  assert.deepEqual([readWrk(FINE).requests, failuresOf(readWrk(FINE))], [2_592, 0]);
  assert.equal(errorText(readWrk(FINE)), 'none');
  assert.equal(errorText(readWrk(ILL)), 'connect 3, read 8, timeout 1, status 2');
  assert.equal(failuresOf(sumOf([readWrk(ILL), readWrk(FINE), readWrk(ILL)])), 28);
  assert.throws(() => readWrk('unable to connect to 203.0.113.80:80 Connection refused'));
});
