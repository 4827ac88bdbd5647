import { waitFor } from '@ims/embedded';
import { createHash } from 'node:crypto';
import picocolors from 'picocolors';
import { z } from 'zod';
import { CliError } from '../cli-error';
import { EXIT } from '../exit-codes';
import { GatewayClient } from '../gateway-client';
import { output } from '../output';
import type { StackState } from '../stack/data-directory';
import { heading } from './show';

// A job of the demo takes a few seconds on an idle machine; this is for a laptop that is busy with something else.
const JOB_DEADLINE_MS = 120_000;

const accepted = z.object({ job_id: z.string() });

const jobAnswer = z.object({
  job_id: z.string(),
  status: z.enum(['INIT', 'RUNNING', 'SUCCESS', 'FAIL']),
  error_code: z.string().nullable().optional(),
  fail_reason: z.string().nullable().optional(),
  entities: z.object({
    image_id: z.string().optional(),
    server_id: z.string().optional(),
    current_task: z.string().optional(),
    process_percent: z.number().optional(),
  }),
});
export type JobAnswer = z.infer<typeof jobAnswer>;

const imageList = z.object({
  images: z.array(z.looseObject({ id: z.string(), name: z.string(), status: z.string() })),
});
export type ListedImage = z.infer<typeof imageList>['images'][number];

/** What a job made; fails when it did not succeed. */
export function resultOf({ state }: DemoClient, job: JobAnswer): JobAnswer['entities'] {
  if (job.status === 'SUCCESS') return job.entities;
  throw new CliError(
    `job ${job.job_id} failed: ${job.error_code ?? ''} ${job.fail_reason ?? ''}`,
    `Look at ${state.temporalUiUrl}/namespaces/default/workflows/${job.job_id} and the log of the worker.`,
    EXIT.jobFailed,
  );
}

/** The demo's user: everything it does goes through the API. */
export class DemoClient {
  private constructor(
    readonly state: StackState,
    private readonly gateway: GatewayClient,
  ) {}

  static async signIn(state: StackState): Promise<DemoClient> {
    heading(`Sign in to ${state.region}`);
    const gateway = await GatewayClient.signIn(state.apiUrl, {
      accountName: state.accountName,
      userName: state.userName,
      password: state.userPassword,
      projectId: state.projectId,
    });
    output.data('  POST /v3/auth/tokens  ->  X-Subject-Token');
    return new DemoClient(state, gateway);
  }

  async call(method: string, path: string, body?: unknown): Promise<Response> {
    return this.gateway.call(method, path, body === undefined ? {} : { body });
  }

  /** Starts a job by `POST path`, shows where to watch it and follows it to its end, whichever that is. */
  async runJob(path: string, body: unknown): Promise<JobAnswer> {
    const { job_id: id } = accepted.parse(await (await this.call('POST', path, body)).json());
    output.data(`  POST ${path}  ->  {"job_id":"${id}"}`);
    output.data(
      `  ${picocolors.bold('Watch this very job:')} ${this.state.temporalUiUrl}/namespaces/default/workflows/${id}`,
    );
    let shown = '';
    return waitFor(
      async () => {
        const answer = await this.call('GET', `/v1/${this.state.projectId}/jobs/${id}`);
        const document = jobAnswer.parse(await answer.json());
        const percent = Math.round((document.entities.process_percent ?? 0) * 100);
        const line = `${document.status} ${document.entities.current_task ?? ''} ${percent} %`;
        if (line !== shown) output.progress(`  ${line}`);
        shown = line;
        return document.status === 'SUCCESS' || document.status === 'FAIL' ? document : undefined;
      },
      { deadlineMs: JOB_DEADLINE_MS, what: `job ${id} to end`, everyMs: 200 },
    );
  }

  async image(id: string): Promise<ListedImage | undefined> {
    const answer = await this.call('GET', `/v2/cloudimages?id=${id}`);
    return imageList.parse(await answer.json()).images[0];
  }

  async countImages(): Promise<number> {
    return imageList.parse(await (await this.call('GET', '/v2/cloudimages')).json()).images.length;
  }

  /** Length and SHA-256 of an image's disk, as a raw download has it. */
  async rawDisk(imageId: string): Promise<{ bytes: number; sha256: string }> {
    const answer = await this.call('GET', `/v2/images/${imageId}/file?format=raw`);
    const hash = createHash('sha256');
    let bytes = 0;
    const reader: ReadableStreamDefaultReader<Uint8Array> | undefined = answer.body?.getReader();
    for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
      hash.update(part.value);
      bytes += part.value.length;
    }
    return { bytes, sha256: hash.digest('hex') };
  }
}
