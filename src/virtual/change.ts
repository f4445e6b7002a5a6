/** A change of the topology: one revision, all of its rows together. */
import type { KindName, StoredObject } from './kind.ts';

export type RowChange =
  | { readonly kind: KindName; readonly id: string; readonly put: StoredObject }
  | { readonly kind: KindName; readonly id: string; readonly put?: undefined };

export interface Change {
  readonly revision: number;
  readonly rows: readonly RowChange[];
  /** Names the request that made it, in every log that tells of it. */
  readonly request?: string;
}
