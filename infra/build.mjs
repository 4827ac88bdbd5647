// Compiles packages (src -> dist) with swc: `node infra/build.mjs libs/db libs/access`, or all of them with `node infra/build.mjs`.
// Type checking is `npm run typecheck`; this step only strips types, so it is fast enough to run before every test run.
import { transformFile } from '@swc/core';
import { copyFile, glob, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const workspace = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const options = {
  jsc: {
    target: 'es2023',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
  },
  module: { type: 'commonjs' },
  sourceMaps: 'inline',
};

async function* files(dir) {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}

const mtime = async (path) => (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;

async function buildPackage(root, builderChangedAt) {
  const src = join(root, 'src');
  const dist = join(root, 'dist');
  const written = new Set();
  for await (const path of files(src)) {
    if (/\.spec\.ts$/.test(path)) continue;
    const isSource = path.endsWith('.ts');
    if (!isSource && !path.endsWith('.json')) continue;
    const target = join(dist, relative(src, path).replace(/\.ts$/, '.js'));
    written.add(target);
    const builtAt = await mtime(target);
    if (builtAt > (await mtime(path)) && builtAt > builderChangedAt) continue;
    await mkdir(dirname(target), { recursive: true });
    // Written beside its place and moved there: whoever loads it at this moment sees the old file or the new one, never half of one.
    const draft = `${target}.${process.pid}`;
    if (isSource) await writeFile(draft, (await transformFile(path, options)).code);
    else await copyFile(path, draft);
    await rename(draft, target);
  }
  // A file deleted from src must not live on in dist. Drafts of another build that runs right now (they end in a process id) are left alone.
  if (await stat(dist).catch(() => undefined)) {
    for await (const path of files(dist))
      if (!written.has(path) && !/\.\d+$/.test(path)) await rm(path, { force: true });
  }
}

async function allPackages() {
  const roots = [];
  for await (const path of glob(['libs/*/src', 'apps/*/src', 'workflows/src', 'activities/src'], { cwd: workspace })) {
    roots.push(join(workspace, dirname(path)));
  }
  return roots;
}

const roots = process.argv.length > 2 ? process.argv.slice(2).map((path) => resolve(path)) : await allPackages();
const builderChangedAt = await mtime(fileURLToPath(import.meta.url));
const results = await Promise.allSettled(roots.map((root) => buildPackage(root, builderChangedAt)));
for (const [index, result] of results.entries()) {
  if (result.status === 'fulfilled') continue;
  process.exitCode = 1;
  process.stderr.write(`build ${relative(workspace, roots[index])}: ${result.reason?.message ?? result.reason}\n`);
}
