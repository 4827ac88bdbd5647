import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const WORKSPACE = resolve(__dirname, '../..');

/** One file per rule that breaks it, and the import by which it does. */
const FORBIDDEN: Record<string, { from: string; text: string }[]> = {
  'keys-know-db': [
    { from: 'libs/keys/src/knows-images.ts', text: `import { x } from '@ims/image-store'; export const y = x;` },
  ],
  'contract-is-pure': [
    { from: 'libs/contract/src/reads-files.ts', text: `import 'node:fs';` },
    { from: 'libs/contract/src/queries.ts', text: `import 'kysely';` },
  ],
  'domain-is-pure': [
    { from: 'libs/domain/src/queries.ts', text: `import { x } from '@ims/db'; export const y = x;` },
    { from: 'libs/domain/src/reads-files.ts', text: `import 'node:fs';` },
    { from: 'libs/domain/src/types-only.ts', text: `import type { x } from '@ims/db'; export type Y = typeof x;` },
  ],
  'workflows-are-deterministic': [
    { from: 'workflows/src/queries.ts', text: `import 'kysely';` },
    { from: 'workflows/src/reads-files.ts', text: `import 'node:fs';` },
    { from: 'workflows/src/decides.ts', text: `import { x } from '@ims/domain'; export const y = x;` },
  ],
  'workflows-know-activities-by-type': [
    { from: 'workflows/src/calls.ts', text: `import { x } from '@ims/activities'; export const y = x;` },
  ],
  'activities-use-libraries': [
    { from: 'activities/src/starts.ts', text: `import { x } from '@ims/workflows'; export const y = x;` },
    { from: 'activities/src/authenticates.ts', text: `import { x } from '@ims/access'; export const y = x;` },
  ],
  'gateway-runs-no-step': [
    { from: 'apps/gateway/src/runs.ts', text: `import { x } from '@ims/activities'; export const y = x;` },
    { from: 'apps/gateway/src/converts.ts', text: `import { x } from '@ims/image-format'; export const y = x;` },
  ],
  'gateway-is-a-temporal-client': [{ from: 'apps/gateway/src/works.ts', text: `import '@temporalio/worker';` }],
  'cli-is-a-client': [
    { from: 'apps/cli/src/ingests.ts', text: `import { x } from '@ims/image-store'; export const y = x;` },
  ],
  'billing-is-pure': [
    { from: 'libs/billing/src/queries.ts', text: `import { x } from '@ims/db'; export const y = x;` },
  ],
  'db-knows-the-contract': [
    { from: 'libs/db/src/decides.ts', text: `import { x } from '@ims/domain'; export const y = x;` },
  ],
  'event-log-knows-db': [
    { from: 'libs/event-log/src/decides.ts', text: `import { x } from '@ims/domain'; export const y = x;` },
  ],
  'access-knows-db': [
    { from: 'libs/access/src/logs.ts', text: `import { x } from '@ims/event-log'; export const y = x;` },
  ],
  'buckets-know-the-contract': [
    { from: 'libs/buckets/src/queries.ts', text: `import { x } from '@ims/db'; export const y = x;` },
  ],
  'staging-knows-buckets': [
    { from: 'libs/staging/src/ingests.ts', text: `import { x } from '@ims/image-store'; export const y = x;` },
  ],
  'image-format-knows-buckets': [
    { from: 'libs/image-format/src/stores.ts', text: `import { x } from '@ims/image-store'; export const y = x;` },
  ],
  'image-store-knows-formats': [
    { from: 'libs/image-store/src/appends.ts', text: `import { x } from '@ims/event-log'; export const y = x;` },
  ],
  'job-engine-knows-events': [
    { from: 'libs/job-engine/src/starts.ts', text: `import { x } from '@ims/workflows'; export const y = x;` },
  ],
  'peers-accept-and-show': [
    { from: 'libs/peer/src/asks.ts', text: `import { x } from '@ims/access'; export const y = x;` },
  ],
  'neighbours-stand-alone': [
    { from: 'libs/neighbours/src/asks.ts', text: `import { x } from '@ims/access'; export const y = x;` },
  ],
  'embedded-stands-alone': [
    { from: 'libs/embedded/src/migrates.ts', text: `import { x } from '@ims/db'; export const y = x;` },
  ],
  'apps-are-not-imported': [
    { from: 'apps/worker/src/serves.ts', text: `import { x } from '../../gateway/src/index'; export const y = x;` },
  ],
  'testing-is-for-tests': [
    { from: 'apps/worker/src/fakes.ts', text: `import { x } from '@ims/testing'; export const y = x;` },
  ],
  'no-deep-imports': [
    {
      from: 'apps/worker/src/deep.ts',
      text: `import { hen as x } from '../../../libs/db/src/hen'; export const y = x;`,
    },
    {
      from: 'apps/worker/src/deep.int.spec.ts',
      text: `import { hen as x } from '../../../libs/db/src/hen'; export const y = x;`,
    },
  ],
  'no-cycles': [{ from: 'libs/db/src/egg.ts', text: `import { hen } from './hen'; export const egg = () => hen;` }],
  'no-test-packages-in-the-product': [{ from: 'libs/db/src/generates.ts', text: `import 'fast-check';` }],
  'imports-resolve': [{ from: 'libs/db/src/nowhere.ts', text: `import './no-such-file';` }],
};

/** What a forbidden import above needs beside it. A cycle is reported once, at one of its files. */
const SUPPORT: Record<string, string> = {
  'libs/db/src/hen.ts': `import { egg } from './egg'; export const hen = () => egg;`,
};

/** Allowed, although it lies near something forbidden. */
const ALLOWED: Record<string, string> = {
  'libs/contract/src/parses.ts': `import 'zod';`,
  'libs/domain/src/decides.ts': `import { x } from '@ims/contract'; export const y = x;`,
  'libs/domain/src/decides.unit.spec.ts': `import 'node:fs'; import { x } from '@ims/testing'; export const y = x;`,
  'workflows/src/saga.ts': `import type { x } from '@ims/activities'; import '@temporalio/workflow'; export type Y = typeof x;`,
  'apps/gateway/src/starts.ts': `import '@temporalio/client'; import { x } from '@ims/job-engine'; export const y = x;`,
  'apps/worker/src/wires.ts': `import { x } from '@ims/activities'; import { x as z } from '@ims/image-store'; export const y = [x, z];`,
  'libs/image-store/src/reads.ts': `import { x } from '@ims/image-format'; export const y = x;`,
};

const ROOMS = [
  'activities',
  'workflows',
  ...['gateway', 'worker', 'cli'].map((name) => `apps/${name}`),
  ...[
    'access',
    'buckets',
    'contract',
    'db',
    'domain',
    'embedded',
    'event-log',
    'image-format',
    'image-store',
    'job-engine',
  ].map((name) => `libs/${name}`),
  'libs/neighbours',
  'libs/testing',
];

interface Summary {
  violations: { from: string; rule: { name: string } }[];
  ruleSetUsed: { forbidden: { name: string; comment: string }[] };
}

describe('boundaries between the rooms', () => {
  let directory: string;
  let summary: Summary;

  async function put(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), text);
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ims-boundaries-'));
    for (const file of ['tsconfig.json', 'package.json', '.dependency-cruiser.cjs']) {
      await cp(join(WORKSPACE, file), join(directory, file));
    }
    await symlink(join(WORKSPACE, 'node_modules'), join(directory, 'node_modules'));
    for (const room of ROOMS) await put(`${room}/src/index.ts`, 'export const x = 1;');
    for (const { from, text } of Object.values(FORBIDDEN).flat()) await put(from, text);
    for (const [path, text] of Object.entries({ ...SUPPORT, ...ALLOWED })) await put(path, text);
    const cruise = join(WORKSPACE, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs');
    const args = [
      '--config',
      '.dependency-cruiser.cjs',
      '--output-type',
      'json',
      'apps',
      'libs',
      'workflows',
      'activities',
    ];
    // Its exit status is the number of violations; a cruise that did not run has no output.
    const { stdout } = await run(process.execPath, [cruise, ...args], {
      cwd: directory,
      env: { PATH: dirname(process.execPath) },
      maxBuffer: 64 * 1024 * 1024,
    }).catch((error: { stdout: string; stderr: string }) => {
      if (error.stdout === '') throw new Error(error.stderr);
      return error;
    });
    // The documented form of the tool's JSON report.
    summary = (JSON.parse(stdout) as { summary: Summary }).summary;
  });
  afterAll(() => rm(directory, { recursive: true }));

  const brokenBy = (file: string): string[] =>
    summary.violations.filter(({ from }) => from === file).map(({ rule }) => rule.name);

  const cases = Object.entries(FORBIDDEN).flatMap(([rule, files]) => files.map(({ from }) => ({ rule, from })));
  it.each(cases)('$rule refuses $from', ({ rule, from }) => {
    expect(brokenBy(from)).toContain(rule);
  });

  it.each(Object.keys(ALLOWED))('%s is allowed', (file) => {
    expect(brokenBy(file)).toEqual([]);
  });

  it('has a forbidden import for every rule, and a sentence in every rule', () => {
    expect(summary.ruleSetUsed.forbidden.map((rule) => rule.name).toSorted()).toEqual(
      Object.keys(FORBIDDEN).toSorted(),
    );
    for (const rule of summary.ruleSetUsed.forbidden) expect(rule.comment).toMatch(/^[A-Z].{30,}\.$/s);
  });
});
