/** What every store refuses alike, before anything is written. */
import { type Compare, type Operation, STORE_LIMITS, TooLarge } from './store.ts';

/** Throws TooLarge; a key named twice is our own mistake, because etcd refuses it too. */
export function checkLimits(compares: readonly Compare[], operations: readonly Operation[]): void {
  const { operationsPerTransactionMax, comparesPerTransactionMax, transactionBytesMax } =
    STORE_LIMITS;
  if (operations.length > operationsPerTransactionMax)
    throw new TooLarge(`${operations.length} operations; at most ${operationsPerTransactionMax}`);
  if (compares.length > comparesPerTransactionMax)
    throw new TooLarge(`${compares.length} compares; at most ${comparesPerTransactionMax}`);
  let bytes = 0;
  const keys = new Set<string>();
  for (const operation of operations) {
    const key = 'put' in operation ? operation.put : operation.delete;
    if (keys.has(key)) throw new Error(`key ${key} is named twice in one transaction`);
    keys.add(key);
    bytes += Buffer.byteLength(key);
    if ('put' in operation) bytes += Buffer.byteLength(operation.value);
  }
  for (const { key } of compares) bytes += Buffer.byteLength(key);
  if (bytes > transactionBytesMax)
    throw new TooLarge(`${bytes} bytes; at most ${transactionBytesMax}`);
}
