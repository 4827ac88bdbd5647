// Compiles one package (src -> dist) with swc. Type checking is `npm run typecheck`; this step only strips types, so it is fast enough to run before every test run.
import { transformFile } from '@swc/core';
import { mkdir, readdir, rm, writeFile, copyFile, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';

const root = resolve(process.argv[2] ?? '.');
const src = join(root, 'src');
const dist = join(root, 'dist');

async function* files(dir) {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}

const options = {
  jsc: {
    target: 'es2023',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
  },
  module: { type: 'commonjs' },
  sourceMaps: 'inline',
};

const written = new Set();
for await (const path of files(src)) {
  if (/\.spec\.ts$/.test(path)) continue;
  const isSource = path.endsWith('.ts');
  if (!isSource && !path.endsWith('.json')) continue;
  const target = join(dist, relative(src, path).replace(/\.ts$/, '.js'));
  written.add(target);
  await mkdir(dirname(target), { recursive: true });
  if (isSource) await writeFile(target, (await transformFile(path, options)).code);
  else await copyFile(path, target);
}
// A file deleted from src must not live on in dist.
if (await stat(dist).catch(() => undefined)) {
  for await (const path of files(dist)) if (!written.has(path)) await rm(path);
}
