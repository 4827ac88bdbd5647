import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import { projectId, quotaStream, SYSTEM } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import { makeDebianLikeDisk, testTemporal, TestStack, waitFor } from '@ims/testing';
import { sql } from 'kysely';

const WORKSPACE = resolve(__dirname, '../..');
const REPORT = join(WORKSPACE, 'docs/reports/bench-jobs.md');
const ROUNDS = Number(process.env['IMS_BENCH_ROUNDS'] ?? 5);
const CALLERS = [1, 16, 64] as const;
// Long enough for hundreds of calls, short enough that both sides see the same machine.
const ROUND_MS = 2_000;
const MIB = 2 ** 20;
// The seed's 40 create tasks (CRE-24), and bytes enough that storing them is most of each job.
const IMPORTS = 40;
const IMPORT_MIB = 24;
// Stands for the import of 100 GB: large enough to be under way for as long as the small jobs are measured.
const LARGE_MIB = 3_072;

interface Measured {
  /** Milliseconds of each call, ascending. */
  times: number[];
  perSecond: number;
}

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
const merged = (rounds: readonly Measured[]): number[] => rounds.flatMap(({ times }) => times).sort((a, b) => a - b);

/** As many calls as fit into a round, by so many callers of whom each waits for its answer. */
async function measure(callers: number, call: () => Promise<void>): Promise<Measured> {
  const times: number[] = [];
  const began = performance.now();
  const caller = async (): Promise<void> => {
    while (performance.now() - began < ROUND_MS) {
      const at = performance.now();
      await call();
      times.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const seconds = (performance.now() - began) / 1_000;
  return { times: times.sort((a, b) => a - b), perSecond: times.length / seconds };
}

/** Jobs beside the bare engine: goals 10, 11 and 18. Times are printed and recorded, none is a limit. */
describe('jobs, beside bare workflows', () => {
  let stack: TestStack;
  let client: Client;
  let bare: ChildProcess;
  const queue = `bare-${randomUUID()}`;
  const nobody = `nobody-${randomUUID()}`;
  const lines: string[] = [];
  const say = (line: string): void => {
    lines.push(line);
    process.stderr.write(`${line}\n`);
  };

  beforeAll(async () => {
    const temporal = await testTemporal();
    stack = await TestStack.start();
    client = new Client({ connection: await Connection.connect({ address: temporal.address }) });
    bare = spawn(
      process.execPath,
      [join(WORKSPACE, 'infra/run-ts.cjs'), 'test/bench/support/bare-worker.ts', temporal.address, queue],
      { cwd: WORKSPACE, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    if (bare.stdout === null) throw new Error('the peer says nothing');
    await once(bare.stdout, 'data');
    const project = projectId(stack.identity.projectId);
    await inTransaction(stack.db, (trx) =>
      appendEvents(
        trx,
        { projectId: project, actor: SYSTEM },
        (['image', 'create_task'] as const).map((resource) => ({
          stream: quotaStream(project, resource),
          key: 'limit:bench',
          type: 'quota.limit-set' as const,
          data: { resource, limit: 1_000_000 },
        })),
      ),
    );
  }, 120_000);
  afterAll(async () => {
    bare.kill('SIGTERM');
    await client.connection.close();
    await stack.stop();
    await writeFile(
      REPORT,
      `# Jobs beside bare workflows\n\n${cpus().length} cores of ${cpus()[0]?.model ?? 'unknown make'}, load ${loadavg()[0]?.toFixed(1)} at the end; ` +
        `${ROUNDS} rounds of ${ROUND_MS / 1000} s each, ours and the peer's by turns on one Temporal and one Postgres. Written by \`npm run bench\`.\n\n${lines.join('\n')}\n`,
    );
  });

  /** Accepts an answer of this service. */
  async function submitted(path: string, body: object): Promise<string> {
    const { status, json, text } = await stack.call('POST', path, body);
    if (status !== 200) throw new Error(`POST ${path}: ${status} ${text}`);
    // Accepted jobs are answered with their id (ims-api 6).
    return (json as { job_id: string }).job_id;
  }
  const importOf = (key: string): Promise<string> =>
    submitted('/v2/cloudimages/action', { name: 'bench', image_url: `images:${key}`, min_disk: 10 });
  const finished = async (id: string): Promise<void> => {
    // Under load the relay starts what the call itself did not get started in time.
    await waitFor(
      () =>
        client.workflow
          .getHandle(id)
          .result()
          .then(
            () => true,
            (err: unknown) => {
              if (err instanceof WorkflowNotFoundError) return undefined;
              throw err;
            },
          ),
      { deadlineMs: 120_000, what: `job ${id} ends`, everyMs: 20 },
    );
  };

  it('submits beside a bare start of a workflow and one commit (goal 10)', async () => {
    // Nobody works while submissions are timed, on either side: what is measured is the acceptance.
    await stack.kill('worker');
    const startBare = async (): Promise<void> => {
      const workflowId = randomUUID();
      // Any small row will do: what counts is the commit.
      await stack.db
        .insertInto('step_attempt')
        .values({ job_id: workflowId, step: 'bench', attempt: 1, worker: 'bench', started_at: sql<Date>`now()` })
        .execute();
      await client.workflow.start('fiveActivities', { taskQueue: nobody, workflowId });
    };
    say(
      '| submission | p50 ms | p99 ms | per s | bare start and commit: p50 ms | p99 ms | per s | p50 ratio (goal ≤ 1.3) |',
    );
    say('| --- | --- | --- | --- | --- | --- | --- | --- |');
    for (const callers of [1, 16]) {
      const ours: Measured[] = [];
      const peer: Measured[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        ours.push(await measure(callers, async () => void (await importOf('none.raw'))));
        peer.push(await measure(callers, startBare));
      }
      const [a, b] = [merged(ours), merged(peer)];
      say(
        `| ${callers} callers | ${quantile(a, 0.5).toFixed(1)} | ${quantile(a, 0.99).toFixed(1)} | ${median(ours.map((each) => each.perSecond)).toFixed(0)} ` +
          `| ${quantile(b, 0.5).toFixed(1)} | ${quantile(b, 0.99).toFixed(1)} | ${median(peer.map((each) => each.perSecond)).toFixed(0)} ` +
          `| ${(quantile(a, 0.5) / quantile(b, 0.5)).toFixed(2)} |`,
      );
    }
    say('');
  }, 300_000);

  it('runs a job of five steps beside a bare workflow of five activities (goal 11)', async () => {
    // A fresh region: the submissions above are still to be worked off by a worker that never comes.
    const quiet = await TestStack.start();
    try {
      const small = await makeDebianLikeDisk(quiet.bucketDirectory, { name: 'small' });
      const image = await quiet.runJob('/v2/cloudimages/action', {
        name: 'small',
        image_url: `images:${basename(small.path)}`,
        min_disk: 1,
      });
      const server = { name: 'bench', imageRef: image.entities.image_id, flavorRef: 's6.large.2' };
      const ourJob = async (): Promise<void> => {
        const { status, json, text } = await quiet.call('POST', `/v1/${quiet.identity.projectId}/cloudservers`, {
          server,
        });
        if (status !== 200) throw new Error(`${status} ${text}`);
        // As above.
        await finished((json as { job_id: string }).job_id);
      };
      const bareJob = async (): Promise<void> => {
        await client.workflow.execute('fiveActivities', { taskQueue: queue, workflowId: randomUUID() });
      };
      await ourJob();
      await bareJob();
      say(
        '| job of five steps (a server from an image) | p50 ms | per s | bare workflow of five activities: p50 ms | per s | p50 ratio (goal ≤ 1.2) | rate ratio (goal ≥ 0.7) |',
      );
      say('| --- | --- | --- | --- | --- | --- | --- |');
      for (const callers of CALLERS) {
        const ours: Measured[] = [];
        const peer: Measured[] = [];
        for (let round = 0; round < ROUNDS; round += 1) {
          ours.push(await measure(callers, ourJob));
          peer.push(await measure(callers, bareJob));
        }
        const rates = [ours, peer].map((rounds) => median(rounds.map((each) => each.perSecond)));
        const [a, b] = [merged(ours), merged(peer)];
        say(
          `| ${callers} callers | ${quantile(a, 0.5).toFixed(0)} | ${rates[0]?.toFixed(1)} | ${quantile(b, 0.5).toFixed(0)} | ${rates[1]?.toFixed(1)} ` +
            `| ${(quantile(a, 0.5) / quantile(b, 0.5)).toFixed(2)} | ${((rates[0] ?? NaN) / (rates[1] ?? NaN)).toFixed(2)} |`,
        );
      }
      say('');
    } finally {
      await quiet.stop();
    }
  }, 300_000);

  it(`imports ${IMPORTS} files at once beside one after the other, and small ones beside a large one (goal 18)`, async () => {
    const region = await TestStack.start();
    try {
      const project = projectId(region.identity.projectId);
      await inTransaction(region.db, (trx) =>
        appendEvents(trx, { projectId: project, actor: SYSTEM }, [
          {
            stream: quotaStream(project, 'image'),
            key: 'limit:bench',
            type: 'quota.limit-set',
            data: { resource: 'image', limit: 10_000 },
          },
        ]),
      );
      const submit = async (key: string): Promise<string> => {
        const { status, json, text } = await region.call('POST', '/v2/cloudimages/action', {
          name: key,
          image_url: `images:${key}`,
          min_disk: 10,
        });
        if (status !== 200) throw new Error(`${status} ${text}`);
        // As above.
        return (json as { job_id: string }).job_id;
      };
      const fileOf = async (name: string, mib: number): Promise<string> => {
        const key = `${name}.raw`;
        // Half of it compresses to nothing, as disks do.
        const half = Buffer.concat([randomBytes(MIB), Buffer.alloc(MIB, name)]);
        const pieces = Array.from({ length: mib / 2 }, (_, n) => {
          half.writeUInt32LE(n, 0);
          return Buffer.from(half);
        });
        await writeFile(join(region.bucketDirectory, key), pieces);
        return key;
      };
      const timed = async (work: () => Promise<unknown>): Promise<number> => {
        const began = performance.now();
        await work();
        return performance.now() - began;
      };
      const ended = async (id: string): Promise<void> => {
        await finished(id);
        const { json } = await region.call('GET', `/v1/${project}/jobs/${id}`);
        // The job document (ims-api 10.2).
        if ((json as { status: string }).status !== 'SUCCESS') throw new Error(JSON.stringify(json));
      };
      const ratios: number[] = [];
      for (let round = 0; round < Math.min(ROUNDS, 3); round += 1) {
        const serial: string[] = [];
        const parallel: string[] = [];
        for (let n = 0; n < IMPORTS; n += 1) {
          serial.push(await fileOf(`s-${round}-${n}`, IMPORT_MIB));
          parallel.push(await fileOf(`p-${round}-${n}`, IMPORT_MIB));
        }
        const one = await timed(async () => {
          for (const key of serial) await ended(await submit(key));
        });
        const all = await timed(() => Promise.all(parallel.map(async (key) => ended(await submit(key)))));
        ratios.push(all / one);
        say(
          `${IMPORTS} imports of ${IMPORT_MIB} MiB: one after the other ${(one / 1000).toFixed(1)} s, at once ${(all / 1000).toFixed(1)} s, ratio ${(all / one).toFixed(2)}`,
        );
      }
      say(`\nMedian ratio ${median(ratios).toFixed(2)} (goal ≤ 1.1).\n`);

      const smallJobs = async (name: string, count: number): Promise<number[]> => {
        const times: number[] = [];
        for (let n = 0; n < count; n += 1) {
          const key = await fileOf(`${name}-${n}`, 2);
          times.push(await timed(async () => ended(await submit(key))));
        }
        return times.sort((a, b) => a - b);
      };
      const idle = await smallJobs('idle', 40);
      const large = await submit(await fileOf('large', LARGE_MIB));
      await waitFor(
        async () => {
          const job = await region.db.selectFrom('job').select('status').where('id', '=', large).executeTakeFirst();
          return job?.status === 'RUNNING';
        },
        { deadlineMs: 60_000, what: 'the large import to begin' },
      );
      const busy: number[] = [];
      const isOpen = async (): Promise<boolean> => {
        const job = await region.db.selectFrom('job').select('outcome').where('id', '=', large).executeTakeFirst();
        return job?.outcome === null;
      };
      for (let n = 0; n < 40 && (await isOpen()); n += 1) busy.push(...(await smallJobs(`busy-${n}`, 1)));
      await ended(large);
      busy.sort((a, b) => a - b);
      say(
        `Imports of 2 MiB: p50 ${quantile(idle, 0.5).toFixed(0)} ms, p99 ${quantile(idle, 0.99).toFixed(0)} ms idle; ` +
          `p50 ${quantile(busy, 0.5).toFixed(0)} ms, p99 ${quantile(busy, 0.99).toFixed(0)} ms (${busy.length} of them) beside an import of ${LARGE_MIB / 1024} GiB; ` +
          `p99 ratio ${(quantile(busy, 0.99) / quantile(idle, 0.99)).toFixed(2)} (goal ≤ 3).`,
      );
    } finally {
      await region.stop();
    }
  }, 900_000);
});
