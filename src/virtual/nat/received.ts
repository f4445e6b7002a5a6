/**
 * The packet as the device got it where the walk is: what it answers, and quotes in errors.
 *
 * A walk rewrites at the end only, so the bytes are still as they entered the network. Invariant:
 * what this device itself has made of the packet is not in it; what earlier ones have is undone on
 * the way back, by what `aboutOf` remembers.
 */
import { readdress, type Ends } from '#net/readdress.ts';
import type { Translation } from '../connection.ts';
import { translationsOf } from '../track.ts';
import type { Walk } from '../walk.ts';

/** From here on the walk cannot be cached. */
export function received({ match, changes, changedBefore }: Walk): Uint8Array {
  const bytes = match.payload();
  if (changedBefore === 0) return bytes;
  const ends: { -readonly [E in keyof Ends]: Ends[E] } = {};
  for (const { end, ip, port } of changes.slice(0, changedBefore)) {
    ends[end === 'source' ? 'src' : 'dst'] = ip;
    if (port !== undefined) ends[end === 'source' ? 'srcPort' : 'dstPort'] = port;
  }
  return readdress(bytes, ends) ?? bytes;
}

/** What earlier devices have made of it, for a frame that answers it; nothing: no field. */
export function aboutOf({ changes, changedBefore }: Walk): { about?: readonly Translation[] } {
  if (changedBefore === 0) return {};
  const about = translationsOf({ changes: changes.slice(0, changedBefore) });
  return about.length === 0 ? {} : { about };
}
