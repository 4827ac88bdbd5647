// Bundles all workflows once, at build time; workers and tests load the file instead of bundling at start. Does nothing when the bundle is new enough.
import { glob, mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const target = process.argv[2] ?? join(root, 'workflows/dist-bundle/workflows.js');

const mtime = async (path) => (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;

/** What can end up in the bundle: the workflows, what they may import of ours, and the versions of everything else. */
async function newestInput() {
  let newest = await mtime(join(root, 'package-lock.json'));
  for await (const path of glob(['workflows/dist/**/*.js', 'libs/contract/dist/**/*.js'], { cwd: root })) {
    newest = Math.max(newest, await mtime(join(root, path)));
  }
  return newest;
}

if ((await mtime(target)) <= (await newestInput())) {
  const { bundleWorkflowCode } = await import('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(root, 'workflows/dist/index.js'),
    logger: { trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error, log() {} },
  });
  await mkdir(dirname(target), { recursive: true });
  // A worker that loads it at this moment sees the old bundle or the new one, never half of one.
  await writeFile(`${target}.${process.pid}`, code);
  await rename(`${target}.${process.pid}`, target);
}
