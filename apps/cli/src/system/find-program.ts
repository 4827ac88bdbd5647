import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';

/** Path of a program, also from the sbin directories that are not on everybody's PATH. */
export async function findProgram(name: string, searchPath: string): Promise<string | undefined> {
  for (const directory of [...searchPath.split(':'), '/usr/sbin', '/sbin']) {
    if (directory === '') continue;
    const path = join(directory, name);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}
