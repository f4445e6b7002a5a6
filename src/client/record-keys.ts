/** The keys with which agents tell each other of connections. */
import type { Requests } from './request.ts';

/** The epoch to send with first. Keys are 32 bytes, in hexadecimal digits. */
export interface RecordKeysTold {
  readonly epochs: readonly {
    readonly epoch: number;
    readonly keys: readonly { readonly host: string; readonly key: string }[];
  }[];
}

export interface RecordKeysClient {
  /** Hosts only: of the caller and each other host. */
  recordKeys(): Promise<RecordKeysTold>;
}

export const recordKeysClient = ({ get }: Requests): RecordKeysClient => ({
  recordKeys: () => get('/v1/record-keys'),
});
