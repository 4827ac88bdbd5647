import { createHash, randomUUID } from 'node:crypto';
import { copyFile, open, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { EmbeddedCloud, NewServer, Server } from '@ims/neighbours';
import { convertDisk, type DiskVariant, type TestStack, type TestWebServer, waitFor } from '@ims/testing';

const JOB_DEADLINE_MS = 60_000;

/** A way to make an image. One file per kind of source lists its cases; `sources.e2e.spec.ts` puts all of them to the same proof. */
export interface Source {
  /** What the image is made from, as test names have it. */
  name: string;
  /** Checklist ids. */
  cites: string;
  /** Brings the bytes where the call expects them. */
  prepare(bench: SourceBench): Promise<Prepared>;
  /** Calls like it that must be refused. */
  refusals?: readonly Refusal[];
}

export interface Prepared {
  /** Makes the call that starts the job; resolves with the job's id. May be called again. */
  submit(): Promise<string>;
  /** The images that the job makes, in the order in which its document names them. */
  images: readonly ExpectedImage[];
}

export interface ExpectedImage {
  /** A raw file whose bytes the guest must see first; what lies behind them reads as zeros. */
  raw: string;
  /** Origin, kind and whatever else the list must say of it. */
  fields: Record<string, unknown>;
  /** A file that a plain download must equal byte for byte, for images that are kept as files. */
  file?: string;
}

export interface Refusal {
  what: string;
  code: string;
  /** Makes the call; the job that it started, if it did, is awaited by the proof. */
  call(bench: SourceBench): Promise<Answer>;
}

export interface Answer {
  status: number;
  json: unknown;
  text: string;
}

/** What sources are prepared with: one region, its cloud, and a small disk whose bytes are known. */
export class SourceBench {
  constructor(
    readonly stack: TestStack,
    readonly cloud: EmbeddedCloud,
    /** A small raw disk with a Debian on it. */
    readonly raw: string,
    /** A raw disk of other bytes, with nothing to recognise on it. */
    readonly otherRaw: string,
    /** A directory for files of the sources' own. */
    readonly work: string,
    /** The web, as far as a download may go. */
    readonly web: TestWebServer,
  ) {}

  get projectId(): string {
    return this.stack.identity.projectId;
  }

  /** Puts a file into the bucket under a name of its own; returns its `image_url`. A raw file gets its bitmap, which nobody reads. */
  async put(path: string): Promise<string> {
    const key = `${randomUUID().slice(0, 8)}-${basename(path)}`;
    await copyFile(path, join(this.stack.bucketDirectory, key));
    await writeFile(join(this.stack.bucketDirectory, key.replace(/\.\w+$/, '.mf')), 'bitmap');
    return `images:${key}`;
  }

  async putAs(variant: DiskVariant, raw = this.raw): Promise<string> {
    return this.put(await convertDisk(raw, variant));
  }

  /** A file of this length that is all hole. */
  async putHole(key: string, sizeBytes: number): Promise<string> {
    const file = await open(join(this.stack.bucketDirectory, key), 'w');
    await file.truncate(sizeBytes);
    await file.close();
    return `images:${key}`;
  }

  /** A running server with a system disk of `raw` and a data disk of `otherRaw`, unless told otherwise. */
  aServer(changes: Partial<NewServer> = {}): Promise<Server> {
    return this.cloud.servers.create({
      id: randomUUID(),
      projectId: this.projectId,
      name: 'web-01',
      kind: 'ecs',
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes: [
        {
          id: randomUUID(),
          create: { sizeGib: 1, use: 'system', origin: { from: 'file', path: this.raw } },
          bootIndex: 0,
        },
        {
          id: randomUUID(),
          create: { sizeGib: 10, use: 'data', origin: { from: 'file', path: this.otherRaw } },
          bootIndex: null,
        },
      ],
      ...changes,
    });
  }

  /** The job that brings the bytes of an image, as soon as there is one. */
  jobOf(imageId: string): Promise<string> {
    return waitFor(
      async () => {
        const job = await this.stack.db
          .selectFrom('job')
          .select('id')
          .where('image_id', '=', imageId)
          .executeTakeFirst();
        return job?.id;
      },
      { deadlineMs: JOB_DEADLINE_MS, what: `image ${imageId} has a job`, everyMs: 10 },
    );
  }

  /** Has an image take a file of the web; the answer as the other refusals have theirs, at once or by a job. */
  async importedFrom(imageId: string, uri: string): Promise<Answer> {
    const { status, headers, text } = await this.stack.call('POST', `/v2/images/${imageId}/import`, {
      method: { name: 'web-download', uri },
    });
    const id = headers.get('x-job-id');
    const code = /IMG\.\d{4}/.exec(text)?.[0] ?? text;
    return { status, text, json: id === null ? { error: { code } } : { job_id: id } };
  }

  post(path: string, body: object): Promise<Answer> {
    return this.stack.call('POST', path, body);
  }

  /** Makes a call that must be accepted; resolves with the id of its job. */
  async accepted(path: string, body: object): Promise<string> {
    const answer = await this.post(path, body);
    if (answer.status !== 200) throw new Error(`POST ${path}: ${answer.status} ${answer.text}`);
    // JobAccepted of the contract.
    return (answer.json as { job_id: string }).job_id;
  }
}

// Enough to see that what follows a source is a hole: disks of gigabytes are not read to their end for it.
const SAMPLE_BYTES = 2 ** 20;

/** Whether a disk begins with the bytes of a raw file, and whether zeros follow: right behind them and at the disk's end. */
export async function comparedTo(
  raw: string,
  read: (range: { offset: number; length: number }) => Promise<Buffer>,
  sizeBytes: number,
): Promise<{ equal: boolean; zeroBehind: boolean }> {
  const source = await readFile(raw);
  const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  const isZero = async (offset: number): Promise<boolean> => {
    const length = Math.min(SAMPLE_BYTES, sizeBytes - offset);
    return length <= 0 || (await read({ offset, length })).equals(Buffer.alloc(length));
  };
  return {
    equal: sha256(await read({ offset: 0, length: source.length })) === sha256(source),
    zeroBehind: (await isZero(source.length)) && (await isZero(Math.max(source.length, sizeBytes - SAMPLE_BYTES))),
  };
}
