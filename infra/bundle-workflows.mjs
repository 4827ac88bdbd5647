// Bundles all workflows once, at build time; workers and tests load the file instead of bundling at start.
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';

const root = resolve(import.meta.dirname, '..');
const { code } = await bundleWorkflowCode({
  workflowsPath: join(root, 'workflows/dist/index.js'),
  logger: { trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error, log() {} },
});
const target = process.argv[2] ?? join(root, 'workflows/dist-bundle/workflows.js');
await mkdir(dirname(target), { recursive: true });
await writeFile(target, code);
