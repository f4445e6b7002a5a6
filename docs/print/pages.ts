/**
 * All printed pages of the reference. They are kept beside the others, so that who reads the
 * repository has them too; `test/reference.test.ts` says when one is not what would be printed.
 */
import { describedApi, objectsPage, restPage } from './api.ts';
import { cliPage } from './cli.ts';
import { limitsPage } from './limits.ts';
import { programsPage } from './programs.ts';
import type { PrintedPage } from './table.ts';
import { dropsPage, exitPage, metricsPage } from './words.ts';

export async function printedPages(): Promise<PrintedPage[]> {
  const api = await describedApi();
  return [
    cliPage(),
    await programsPage(),
    objectsPage(api),
    restPage(api),
    await limitsPage(),
    metricsPage(),
    dropsPage(),
    exitPage(),
  ];
}
