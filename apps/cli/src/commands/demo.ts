import { connect } from '@ims/db';
import { errorCode, waitFor } from '@ims/embedded';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import picocolors from 'picocolors';
import { z } from 'zod';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { output, seconds } from '../output';
import { Stack } from '../stack/stack';
import { DataDirectory, type StackState } from '../stack/data-directory';
import { down } from './down';
import { startSupervisor } from './up';

const run = promisify(execFile);

// The import takes a few seconds on an idle machine; this is for a laptop that is busy with something else.
const JOB_DEADLINE_MS = 120_000;
const MIB = 1024 ** 2;

const jobAnswer = z.object({
  status: z.enum(['INIT', 'RUNNING', 'SUCCESS', 'FAIL']),
  error_code: z.string().nullable().optional(),
  fail_reason: z.string().nullable().optional(),
  temporal_url: z.string().optional(),
  entities: z.object({
    image_id: z.string().optional(),
    current_task: z.string().optional(),
    process_percent: z.number().optional(),
  }),
});

const imageList = z.object({
  images: z.array(
    z.looseObject({
      id: z.string(),
      name: z.string(),
      status: z.string(),
      disk_format: z.string(),
      min_disk: z.number(),
    }),
  ),
});

/** `ims demo`: one import from end to end on a service of its own, with everything a person would look at. */
export async function demo(options: { data?: string; keep: boolean }): Promise<void> {
  const began = performance.now();
  const interrupted = new AbortController();
  const interrupt = (): void =>
    interrupted.abort(new CliError('demo interrupted', 'Nothing is left running.', EXIT.interrupted));
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  const dataDir = options.data ?? (await temporaryInstance());
  const work = await mkdtemp(join(tmpdir(), 'ims-demo-disk-'));
  let running: Running | undefined;
  let isDone = false;
  try {
    heading('1. The service comes up');
    running = options.keep ? await startLasting(dataDir) : await startHere(dataDir, interrupted.signal);
    await Promise.race([walk(running.state, work), whenAborted(interrupted.signal)]);
    printWhatNext(dataDir, options.keep);
    isDone = true;
    output.progress(picocolors.green(`\nDone in ${seconds(performance.now() - began)}.`));
  } finally {
    await rm(work, { recursive: true, force: true });
    // Kept only when there is something worth keeping.
    if (!options.keep || !isDone) {
      await running?.stop();
      if (options.data === undefined) await rm(dataDir, { recursive: true, force: true });
    }
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

function printWhatNext(dataDir: string, isKept: boolean): void {
  const data = isKept ? ` --data ${dataDir}` : '';
  heading('What to try next');
  output.data(
    [
      isKept
        ? `  The service stays up. Stop it with:  npm run -s ims -- down --purge${data}`
        : '  npm run -s ims -- up                 a service that stays, with its own data directory',
      `  eval "$(npm run -s ims -- status -o env${data})"`,
      '  openstack image list                 with python-openstackclient; the variables above are all it needs',
      `  npm run -s ims -- logs worker -f${data}`,
      '  npm run -s ims -- doctor             what this machine lacks, if anything',
    ].join('\n'),
  );
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('interrupted', { cause: signal.reason })), { once: true });
  });
}

interface Running {
  state: StackState;
  stop(): Promise<void>;
}

async function temporaryInstance(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'ims-demo-'));
  // mkdtemp closes it to everybody, but Postgres may run as another user.
  await chmod(path, 0o711);
  return path;
}

/** In this process: everything ends with it, however it ends. */
async function startHere(dataDir: string, signal: AbortSignal): Promise<Running> {
  const stack = await Stack.start({
    dataDir,
    signal,
    onProgress: step,
    onTrouble: (message) => output.progress(picocolors.yellow(`  ${message}`)),
  });
  return { state: stack.state, stop: () => stack.stop() };
}

async function startLasting(dataDir: string): Promise<Running> {
  const state = await startSupervisor(new DataDirectory(dataDir), { dataDir, region: 'region-1' });
  return { state, stop: () => down({ data: dataDir, purge: false }) };
}

async function walk(state: StackState, work: string): Promise<void> {
  output.facts([
    ['API', state.apiUrl],
    ['Temporal UI', state.temporalUiUrl],
    ['Data', state.dataDir],
  ]);

  heading('2. A disk image lands in a bucket');
  const source = await makeSource(state, work);

  heading('3. Sign in and ask for the import');
  const token = await signIn(state);
  const accepted = performance.now();
  const jobId = await createImage(state, token, source.imageUrl);
  output.data(`  POST /v2/cloudimages/action  ->  {"job_id":"${jobId}"}`);
  output.data(
    `  ${picocolors.bold('Watch this very job:')} ${state.temporalUiUrl}/namespaces/default/workflows/${jobId}`,
  );

  heading('4. The job');
  const imageId = await followJob(state, token, jobId);
  step('SUCCESS', `image ${imageId}`, performance.now() - accepted);

  heading('5. What happened, from the event log');
  await printStory(state, jobId, imageId);

  heading('6. The image');
  await printImage(state, token, imageId);

  heading('7. Proof: the bytes that come out are the bytes that went in');
  await proveBytes(state, token, imageId, source.rawSha256);
}

async function makeSource(state: StackState, work: string): Promise<{ imageUrl: string; rawSha256: string }> {
  // Loaded only here: the makers of test disks are no part of a running service.
  const { makeDebianLikeDisk, convertDisk, sha256OfRaw } = await import('@ims/testing');
  const began = performance.now();
  const disk = await makeDebianLikeDisk(work, { name: 'debian-10', virtualSizeBytes: 256 * MIB, dataBytes: 64 * MIB });
  const qcow2 = await convertDisk(disk.path, 'qcow2-v3');
  // By another program than ours, from the very file that is imported: what it reads is what must come out in the end.
  const raw = join(work, 'converted.raw');
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', qcow2, raw]);
  const rawSha256 = await sha256OfRaw(raw);
  const bucket = join(state.bucketDir, 'images');
  await mkdir(bucket, { recursive: true });
  await moveInto(qcow2, join(bucket, 'debian-10.qcow2'));
  const { size } = await stat(join(bucket, 'debian-10.qcow2'));
  step(
    'qcow2',
    `images:debian-10.qcow2, ${mebibytes(size)} of a ${mebibytes(disk.virtualSizeBytes)} disk`,
    performance.now() - began,
  );
  output.data(`  sha256 of its raw content (qemu-img convert): ${rawSha256}`);
  return { imageUrl: 'images:debian-10.qcow2', rawSha256 };
}

async function moveInto(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    // Another file system: rename cannot cross it.
    if (errorCode(error) !== 'EXDEV') throw error;
    await copyFile(from, to);
  }
}

async function signIn(state: StackState): Promise<string> {
  const answer = await call(`${state.apiUrl}/v3/auth/tokens`, {
    method: 'POST',
    body: {
      auth: {
        identity: {
          methods: ['password'],
          password: {
            user: { name: state.userName, password: state.userPassword, domain: { name: state.accountName } },
          },
        },
        scope: { project: { id: state.projectId } },
      },
    },
  });
  const token = answer.headers.get('x-subject-token');
  if (token === null)
    throw new CliError('sign in: the answer carries no token', `See the log of the gateway in ${state.dataDir}.`);
  await answer.body?.cancel();
  output.data(`  POST /v3/auth/tokens  ->  ${answer.status}, X-Subject-Token`);
  return token;
}

async function createImage(state: StackState, token: string, imageUrl: string): Promise<string> {
  const answer = await call(`${state.apiUrl}/v2/cloudimages/action`, {
    method: 'POST',
    token,
    body: {
      name: 'debian-demo',
      description: 'made by the demo',
      image_url: imageUrl,
      os_version: 'Debian GNU/Linux 10.2.0 64bit',
      min_disk: 1,
      tags: ['demo'],
    },
  });
  return z.object({ job_id: z.string() }).parse(await answer.json()).job_id;
}

async function followJob(state: StackState, token: string, jobId: string): Promise<string> {
  let shown = '';
  const job = await waitFor(
    async () => {
      const answer = await call(`${state.apiUrl}/v1/${state.projectId}/jobs/${jobId}`, { token });
      const document = jobAnswer.parse(await answer.json());
      const percent = Math.round((document.entities.process_percent ?? 0) * 100);
      const line = `${document.status} ${document.entities.current_task ?? ''} ${percent} %`;
      if (line !== shown) output.progress(`  ${line}`);
      shown = line;
      return document.status === 'SUCCESS' || document.status === 'FAIL' ? document : undefined;
    },
    { deadlineMs: JOB_DEADLINE_MS, what: `job ${jobId} to end`, everyMs: 200 },
  );
  if (job.status !== 'SUCCESS' || job.entities.image_id === undefined) {
    throw new CliError(
      `job ${jobId} failed: ${job.error_code ?? ''} ${job.fail_reason ?? ''}`,
      `Look at ${state.temporalUiUrl}/namespaces/default/workflows/${jobId} and the log of the worker.`,
      EXIT.jobFailed,
    );
  }
  return job.entities.image_id;
}

async function printStory(state: StackState, jobId: string, imageId: string): Promise<void> {
  const db = connect(state.databaseUrl, { poolSize: 1 });
  try {
    const attempts = await db
      .selectFrom('step_attempt')
      .select(['step', 'attempt', 'started_at', 'ended_at', 'outcome'])
      .where('job_id', '=', jobId)
      .orderBy('id')
      .execute();
    output.data(picocolors.bold('  step          attempt  took'));
    for (const { step: name, attempt, started_at, ended_at, outcome } of attempts) {
      const took = ended_at === null ? 'running' : `${ended_at.getTime() - started_at.getTime()} ms`;
      output.data(
        `  ${name.padEnd(13)} ${String(attempt).padEnd(8)} ${took}${outcome === 'completed' ? '' : ` ${outcome}`}`,
      );
    }
    const events = await db
      .selectFrom('event')
      .select(['stream_id', 'stream_position', 'type', 'step', 'occurred_at', 'hash'])
      .where((where) => where.or([where('job_id', '=', jobId), where('stream_id', '=', `image:${imageId}`)]))
      .orderBy('transaction_id')
      .orderBy('global_position')
      .execute();
    output.data(
      picocolors.bold(
        '\n  time (UTC)    event                        step         stream and position            hash chain',
      ),
    );
    for (const event of events) {
      const [time, type, at] = [
        event.occurred_at.toISOString().slice(11, 23),
        event.type.padEnd(28),
        (event.step ?? '').padEnd(12),
      ];
      const place = `${shorten(event.stream_id)} #${event.stream_position}`;
      output.data(`  ${time}  ${type} ${at} ${place.padEnd(30)} ${event.hash.toString('hex').slice(0, 16)}…`);
    }
  } finally {
    await db.destroy();
  }
}

async function printImage(state: StackState, token: string, imageId: string): Promise<void> {
  const answer = await call(`${state.apiUrl}/v2/cloudimages?id=${imageId}`, { token });
  const [image] = imageList.parse(await answer.json()).images;
  if (!image) throw new CliError(`image ${imageId} is not in the list`, 'This is a defect: please report it.');
  for (const name of [
    'id',
    'name',
    'status',
    'disk_format',
    'min_disk',
    '__os_version',
    '__platform',
    '__os_bit',
    'tags',
    '__image_size',
  ]) {
    if (image[name] !== undefined) output.data(`  ${name.padEnd(14)} ${JSON.stringify(image[name])}`);
  }
}

async function proveBytes(state: StackState, token: string, imageId: string, expected: string): Promise<void> {
  const began = performance.now();
  const answer = await call(`${state.apiUrl}/v2/images/${imageId}/file?format=raw`, { token });
  const hash = createHash('sha256');
  let bytes = 0;
  const reader: ReadableStreamDefaultReader<Uint8Array> | undefined = answer.body?.getReader();
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    hash.update(part.value);
    bytes += part.value.length;
  }
  const actual = hash.digest('hex');
  step('GET', `/v2/images/${imageId}/file?format=raw, ${mebibytes(bytes)}`, performance.now() - began);
  output.data(`  sha256 of the download:                       ${actual}`);
  if (actual !== expected) {
    throw new CliError(
      'the downloaded disk differs from the imported one',
      'This is a defect: please report it.',
      EXIT.verifyFailed,
    );
  }
  output.data(picocolors.green('  They are equal.'));
}

interface Call {
  method?: string;
  token?: string;
  body?: unknown;
}

async function call(url: string, { method = 'GET', token, body }: Call): Promise<Response> {
  const answer = await fetch(url, {
    method,
    headers: {
      ...(token === undefined ? {} : { 'x-auth-token': token }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (answer.ok) return answer;
  const requestId = answer.headers.get('x-request-id') ?? 'unknown';
  throw new CliError(
    `${method} ${url} answered ${answer.status}: ${(await answer.text()).slice(0, 500)}`,
    `Look for request ${requestId} in the log of the gateway.`,
  );
}

function heading(text: string): void {
  output.data(`\n${picocolors.bold(picocolors.cyan(text))}`);
}

function step(part: string, detail: string, tookMs: number): void {
  output.data(`  ${part.padEnd(9)} ${detail} ${picocolors.dim(`(${seconds(tookMs)})`)}`);
}

const mebibytes = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
const shorten = (streamId: string): string => streamId.replace(/([0-9a-f]{6})[0-9a-f-]{20,}/, '$1…');
