/**
 * `POST /v1/backup`: a copy of the store while it runs, on the machine of the API. Only who reaches
 * the unix socket may ask: the file holds everything, and is written with the API's own rights.
 */
import { statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { BackupFailed } from '#store/store.ts';
import type { Node } from './node.ts';
import { Refusal } from './problems.ts';
import { json, readBody, type Route } from './route.ts';

export const BackupBody = z
  .strictObject({
    path: z
      .string()
      .min(1, 'must not be empty')
      .refine(isAbsolute, 'must be an absolute path')
      .refine((text) => !text.includes('\0'), 'must hold no zero byte')
      .describe('The file to write, on the machine of the API; there must be none yet.'),
  })
  .meta({ id: 'Backup', description: 'Where a copy of the store goes.' });

export const backupRoutes = ({ store }: Node): Route[] => [
  {
    method: 'POST',
    path: '/v1/backup',
    operationId: 'back-up',
    about: 'Writes a copy of the store, of one revision, to a new file on the machine of the API.',
    who: 'local',
    input: 'Backup',
    output: 'BackedUp',
    handle: async ({ request }) => {
      const { path } = await readBody(request, BackupBody);
      if (store.backup === undefined)
        throw new Refusal(409, { detail: 'this store is backed up by its own tools' });
      try {
        await store.backup(path);
      } catch (error) {
        if (!(error instanceof BackupFailed)) throw error;
        throw new Refusal(409, { errors: [{ path: 'path', message: error.message }] });
      }
      return json({ path, bytes: statSync(path).size });
    },
  },
];
