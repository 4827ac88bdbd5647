import { createHash } from 'node:crypto';
import { open, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createImageStore } from '@ims/image-store';
import { Temporal } from '@ims/job-engine';
import { WorkflowNotFoundError } from '@temporalio/client';
import { jobViolations, noise, type Part, systemViolations, type TestStack, waitFor } from '@ims/testing';

const MIB = 2 ** 20;
const OS_VERSION = 'Debian GNU/Linux 10.0.0 64bit';
// A killed worker's step is given up after its heartbeat timeout (12 s) and tried again; the rest is room for a busy machine.
const SETTLE_DEADLINE_MS = 110_000;
// PendingActivityState of Temporal's API.
const STARTED = 2;

// The last points of an ingest are moments from its end, and a busy machine may look away for as long.
const MOST_JOBS_PER_POINT = 5;

export interface Source {
  key: string;
  sha256: string;
  dataBytes: number;
}

/** A running step: what a kill has to meet to be worth counting. */
export interface RunningStep {
  jobId: string;
  /** What the job does; absent for work that is no job. */
  saga?: string;
  step: string;
  /** Row of `step_attempt`. */
  attemptId: number;
}

/** A stack with eyes for what a fault does to it: positions of transfers, steps that run, bytes of packs, and the check of everything at the end. */
export class RegionUnderFault {
  private constructor(
    readonly stack: TestStack,
    readonly temporal: Temporal,
    readonly store: ReturnType<typeof createImageStore>,
    private readonly other: RegionUnderFault | undefined,
  ) {}

  /** `other`: a region that it exchanges images with. */
  static watch(
    stack: TestStack,
    temporal: { address: string; namespace: string },
    other?: RegionUnderFault,
  ): RegionUnderFault {
    const store = createImageStore({
      db: stack.db,
      directory: stack.storeDirectory,
      threads: 1,
      collectGraceMs: 0,
    });
    return new RegionUnderFault(stack, new Temporal(temporal), store, other);
  }

  get otherRegion(): RegionUnderFault {
    if (this.other === undefined) throw new Error('this region has no other one');
    return this.other;
  }

  get db() {
    return this.stack.db;
  }

  /** A raw disk of bytes that do not compress, behind 1 MiB of zeros; written in pieces and the same for the same key. */
  async putNoise(key: string, mebibytes: number, virtualMebibytes = mebibytes + 1): Promise<Source> {
    const path = join(this.stack.bucketDirectory, key);
    const file = await open(path, 'w');
    const hash = createHash('sha256').update(Buffer.alloc(MIB));
    try {
      await file.truncate(virtualMebibytes * MIB);
      const step = 16;
      for (let at = 0; at < mebibytes; at += step) {
        const piece = noise(`${key}:${at}`, Math.min(step, mebibytes - at) * MIB);
        hash.update(piece);
        await file.write(piece, 0, piece.length, (at + 1) * MIB);
      }
    } finally {
      await file.close();
    }
    // Of the data alone when a hole follows it: nobody hashes a terabyte of zeros.
    return { key, sha256: hash.digest('hex'), dataBytes: mebibytes * MIB };
  }

  /** Submits through the API. Resolves with the job's id; fails unless it was accepted. */
  async submit(source: Source, name: string, minDisk = 1): Promise<string> {
    const answer = await this.stack.call('POST', '/v2/cloudimages/action', {
      name,
      image_url: `images:${source.key}`,
      min_disk: minDisk,
      os_version: OS_VERSION,
    });
    if (answer.status !== 200) throw new Error(`submit of ${name}: ${answer.status} ${answer.text}`);
    // The answer's shape is the contract's own (JobAccepted); a job that it does not name fails the next look-up.
    return (answer.json as { job_id: string }).job_id;
  }

  /** Asks for cancellation; the status of the answer. */
  async cancel(jobId: string): Promise<number> {
    return (await this.stack.call('POST', `/v1/${this.stack.identity.projectId}/jobs/${jobId}/cancel`)).status;
  }

  async deleteImage(imageId: string): Promise<void> {
    const { status, text } = await this.stack.call('DELETE', `/v2/images/${imageId}`);
    if (status !== 204) throw new Error(`DELETE of image ${imageId}: ${status} ${text}`);
  }

  async removeFile(key: string): Promise<void> {
    await rm(join(this.stack.bucketDirectory, key), { force: true });
  }

  async job(jobId: string) {
    return this.db.selectFrom('job').selectAll().where('id', '=', jobId).executeTakeFirstOrThrow();
  }

  /** Steps that a worker process has begun and not ended; none of a process that is gone. */
  async running(part: Part = 'worker'): Promise<RunningStep[]> {
    if (!this.stack.isAlive(part)) return [];
    const rows = await this.db
      .selectFrom('step_attempt')
      .innerJoin('job', 'job.id', 'step_attempt.job_id')
      .select(['step_attempt.id', 'step_attempt.job_id', 'step_attempt.step', 'job.saga'])
      .where('ended_at', 'is', null)
      .where('job.outcome', 'is', null)
      .where('worker', '=', `${hostname()}:${this.stack.pid(part)}`)
      .orderBy('step_attempt.id')
      .execute();
    return rows.map(({ id: attemptId, job_id: jobId, step, saga }) => ({ jobId, saga, step, attemptId }));
  }

  /** Of these steps, those whose attempts have still not noted an end: asked after a kill, what it really met. */
  async begunBy(running: readonly RunningStep[]): Promise<RunningStep[]> {
    if (running.length === 0) return [];
    const rows = await this.db
      .selectFrom('step_attempt')
      .select('id')
      .where(
        'id',
        'in',
        running.map((run) => run.attemptId),
      )
      .where('ended_at', 'is', null)
      .execute();
    const open = new Set(rows.map(({ id }) => id));
    return running.filter((run) => open.has(run.attemptId));
  }

  /** Attempts of a job that have begun and not noted an end, of whatever worker. */
  async attemptsUnderWay(jobId: string): Promise<number> {
    const { n } = await this.db
      .selectFrom('step_attempt')
      .select(({ fn }) => fn.countAll<number>().as('n'))
      .where('job_id', '=', jobId)
      .where('ended_at', 'is', null)
      .executeTakeFirstOrThrow();
    return n;
  }

  /** Packs of a job and the bytes of their files, whether sealed, being made durable or open. */
  async packs(jobId: string): Promise<{ id: string; state: string; fileBytes: number }[]> {
    const rows = await this.db.selectFrom('pack').select(['id', 'state']).where('job_id', '=', jobId).execute();
    const az = join(this.stack.storeDirectory, 'az1');
    return Promise.all(
      rows.map(async ({ id, state }) => {
        const paths = [join(az, 'open', `${id}.pack`), join(az, 'packs', id.slice(0, 2), `${id}.pack`)];
        const sizes = await Promise.all(
          paths.map((path) =>
            stat(path).then(
              ({ size }) => size,
              () => 0,
            ),
          ),
        );
        return { id, state, fileBytes: Math.max(...sizes) };
      }),
    );
  }

  /** Resolves when the ingest of a job has written this many bytes and still runs; true unless it ended before. */
  async reaches(jobId: string, bytes: number, part: Part = 'worker'): Promise<boolean> {
    return waitFor(
      async () => {
        const packs = await this.packs(jobId);
        if (packs.reduce((sum, pack) => sum + pack.fileBytes, 0) >= bytes) {
          return (await this.running(part)).some((run) => run.jobId === jobId && run.step === 'ingest') ? 'yes' : 'no';
        }
        return (await this.job(jobId)).outcome === null ? undefined : 'no';
      },
      { deadlineMs: SETTLE_DEADLINE_MS, what: `job ${jobId} has written ${bytes} bytes`, everyMs: 2 },
    ).then((answer) => answer === 'yes');
  }

  /**
   * A job whose ingest has written this much and still runs: what a fault is to meet. A job that was faster than the look has met none; another one
   * with bytes of its own follows, or it would have nothing to write.
   */
  async ingestAt(name: string, mebibytes: number, bytes: number): Promise<{ id: string; source: Source }> {
    for (let job = 0; job < MOST_JOBS_PER_POINT; job++) {
      const source = await this.putNoise(`${name}-${job}.raw`, mebibytes);
      const id = await this.submit(source, `${name}-${job}`);
      if (await this.reaches(id, bytes)) return { id, source };
    }
    throw new Error(`none of ${MOST_JOBS_PER_POINT} ingests was seen at ${bytes} bytes`);
  }

  async settle(jobIds: readonly string[]): Promise<string[]> {
    await waitFor(
      async () => {
        const open = await this.db
          .selectFrom('job')
          .select('id')
          .where('id', 'in', [...jobIds])
          .where('outcome', 'is', null)
          .execute();
        return open.length === 0;
      },
      { deadlineMs: SETTLE_DEADLINE_MS, what: `jobs ${jobIds.join()} end` },
    );
    const outcomes: string[] = [];
    for (const id of jobIds) {
      // Its last task follows its last event by a moment, and may wait for a worker that comes back.
      await waitFor(async () => !(await this.isRunning(id)), {
        deadlineMs: SETTLE_DEADLINE_MS,
        what: `workflow of job ${id} closes`,
      });
      outcomes.push((await this.job(id)).outcome ?? 'none');
    }
    return outcomes;
  }

  /** Whether the engine has the workflow and it has not ended; one that the engine has forgotten does not run. */
  async isRunning(workflowId: string): Promise<boolean> {
    try {
      return (await this.temporal.client.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return false;
      throw err;
    }
  }

  /** Activities of a workflow that a worker has taken and not reported, by name; of one without steps of a job, this is all there is to see. */
  async activitiesUnderWay(workflowId: string): Promise<string[]> {
    const description = await this.temporal.client.workflow
      .getHandle(workflowId)
      .describe()
      // A part that is dead, or a workflow that is not there: nothing is seen to run.
      .catch(() => undefined);
    const pending = description?.raw.pendingActivities ?? [];
    return pending.flatMap(({ state, activityType }) => (Number(state) === STARTED ? (activityType?.name ?? []) : []));
  }

  /** SHA-256 of what a download serves, of its first `bytes` or of everything. */
  async guestSha256(jobId: string, bytes?: number): Promise<string> {
    const { image_id: imageId } = await this.job(jobId);
    const body = await this.stack.download(`/v2/images/${imageId}/file?format=raw`);
    return createHash('sha256')
      .update(bytes === undefined ? body : body.subarray(0, bytes))
      .digest('hex');
  }

  /** Everything that is wrong once nothing runs: in each of the jobs and in the region (I1, I2, I4, I5, I6, I8). */
  async violations(jobIds: readonly string[]): Promise<string[]> {
    const found = await systemViolations({
      db: this.db,
      store: this.store,
      temporal: this.temporal,
      ownerUrl: this.stack.database.ownerUrl,
    });
    for (const id of jobIds) found.push(...(await jobViolations(this.db, id)));
    return found;
  }

  async stop(): Promise<void> {
    await this.store.close();
    await this.temporal.close();
    await this.stack.stop();
  }
}
