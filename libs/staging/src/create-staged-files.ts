import { type DirectoryStagingOptions, DirectoryStagedFiles } from './directory-staged-files';
import type { StagedFiles } from './staging.port';

/**
 * The staged files of a region. Close it before the database.
 *
 * @example const staged = createStagedFiles({ db, databaseUrl, directory: '/srv/staging', maxProjectBytes: 2 ** 40, clock: systemClock });
 */
export const createStagedFiles = (options: DirectoryStagingOptions): StagedFiles => new DirectoryStagedFiles(options);
