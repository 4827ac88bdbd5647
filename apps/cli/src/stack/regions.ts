import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { CliError } from '../cli-error';
import { DataDirectory } from './data-directory';

const regionsSchema = z.object({
  version: z.literal(1),
  /** Of each pair of them; here all have the same. */
  secret: z.string(),
  regions: z.array(z.object({ name: z.string(), gatewayPort: z.number() })),
});
export type Regions = z.infer<typeof regionsSchema>;

const fileOf = (dataDir: string): string => join(resolve(dataDir), 'regions.json');

/** Several regions below one directory; `undefined` where that is the directory of one alone, or of none. */
export async function readRegions(dataDir: string): Promise<Regions | undefined> {
  const text = await readFile(fileOf(dataDir), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : regionsSchema.parse(JSON.parse(text));
}

/** The directories of all regions below this one: itself, where it is that of one alone. */
export async function regionDirectories(dataDir: string): Promise<DataDirectory[]> {
  const regions = await readRegions(dataDir);
  if (regions === undefined) return [new DataDirectory(dataDir)];
  return regions.regions.map(({ name }) => directoryOf(dataDir, name));
}

export const directoryOf = (dataDir: string, region: string): DataDirectory => new DataDirectory(join(dataDir, region));

/** `region-1` is followed by `region-2`, any other name by the same with a number. */
export function regionNames(first: string, count: number): string[] {
  const [, stem = `${first}-`, number = '1'] = /^(.*-)(\d+)$/.exec(first) ?? [];
  return [first, ...Array.from({ length: count - 1 }, (_, n) => `${stem}${Number(number) + n + 1}`)];
}

/**
 * Makes a directory that of several regions, each a whole service of its own with what the others are to it. The first one's user and access key are
 * known in all of them, as a cloud's are.
 *
 * @throws CliError when one region alone lives there already
 */
export async function prepareRegions(dataDir: string, wanted: Regions['regions']): Promise<Regions> {
  const single = await stat(new DataDirectory(dataDir).postgres).catch(() => undefined);
  if (single !== undefined) {
    throw new CliError(
      `${resolve(dataDir)} is the directory of one region`,
      'Choose another --data for several, or leave --regions out.',
    );
  }
  const known = await readRegions(dataDir);
  // Addresses may be others at every start; who the regions are, and what they trust each other by, stays.
  const regions: Regions = {
    version: 1,
    secret: known?.secret ?? randomBytes(32).toString('hex'),
    regions: wanted,
  };
  await mkdir(resolve(dataDir), { recursive: true });
  const draft = `${fileOf(dataDir)}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(regions, null, 2)}\n`, { mode: 0o600 });
  await rename(draft, fileOf(dataDir));
  const [first, ...others] = regions.regions.map(({ name }) => directoryOf(dataDir, name));
  if (first === undefined) throw new TypeError('no region is wanted');
  for (const directory of [first, ...others]) await directory.prepare();
  const { userName, userPassword, access, secret } = await first.secrets();
  for (const directory of others) await directory.secrets({ userName, userPassword, access, secret });
  for (const { name } of regions.regions) {
    const peers = regions.regions
      .filter((other) => other.name !== name)
      .map((other) => [other.name, { url: `http://127.0.0.1:${other.gatewayPort}`, secret: regions.secret }] as const);
    await directoryOf(dataDir, name).writePeers(JSON.stringify(Object.fromEntries(peers)));
  }
  return regions;
}
