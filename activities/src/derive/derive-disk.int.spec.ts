import { createHash, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dedupDomainId, type DerivedDisks, imageId, imageStream, jobId, jobStream, SYSTEM } from '@ims/contract';
import { ImagesRepository, inTransaction, systemClock } from '@ims/db';
import { diskOf } from '@ims/domain';
import { appendEvents, readStream } from '@ims/event-log';
import {
  convertDisk,
  DISK_VARIANTS,
  makeDebianLikeDisk,
  sha256OfRaw,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { createDeriveActivities } from './derive-disk.activities';

const environment = (): MockActivityEnvironment =>
  // What is refused on purpose is no news.
  new MockActivityEnvironment(undefined, { logger: new DefaultLogger('ERROR', () => undefined) });

/** One file of each format; how formats are written in other ways is the readers' own business. */
const FILES = DISK_VARIANTS.filter(
  ({ format }, n) => DISK_VARIANTS.findIndex((other) => other.format === format) === n,
);

const DEADLINE_MS = 120_000;

describe('the disk in an image that is a file', () => {
  let cell: TestCell;
  let raw: string;
  const images = new Map<string, { imageId: string; jobId: string }>();

  beforeAll(async () => {
    cell = await TestCell.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    for (const { variant, format } of FILES)
      images.set(variant, await cell.submitUpload(await readFile(await convertDisk(raw, variant)), format));
  }, DEADLINE_MS);
  afterAll(() => cell.stop());

  const imageOf = async (variant: string): Promise<string> => {
    const image = images.get(variant);
    if (image === undefined) throw new Error(`${variant} was not sent`);
    expect(await cell.settle(image.jobId)).toBe('succeeded');
    return image.imageId;
  };

  /** A job that uses images, as far as this step needs one. */
  const aJob = async (at = cell): Promise<string> => {
    const id = jobId(randomBytes(16).toString('hex'));
    await inTransaction(at.db, (trx) =>
      appendEvents(trx, { projectId: at.projectId, actor: SYSTEM, jobId: id }, [
        {
          type: 'job.accepted',
          stream: jobStream(id),
          key: 'accepted',
          data: {
            jobType: 'createServer',
            saga: 'server-create',
            imageId: null,
            imageName: 'under-test',
            request: {},
            steps: ['derive-disk'],
          },
        },
      ]),
    );
    return id;
  };
  const activities = (at = cell) =>
    createDeriveActivities({ db: at.db, clock: systemClock, store: at.store, worker: 'under-test' });
  const derive = (job: string, ...imageIds: string[]): Promise<DerivedDisks> =>
    environment().run(activities().deriveDisk, {
      jobId: job,
      epoch: 1,
      imageIds,
      saga: 'server-create' as const,
    });
  const holdsOf = (job: string) =>
    cell.db.selectFrom('segment_hold').select('segment_index').where('job_id', '=', job).execute();
  const refusalOf = async (image: string, at = cell): Promise<unknown> => {
    const input = { jobId: await aJob(at), epoch: 1, imageIds: [image], saga: 'server-create' } as const;
    return environment()
      .run(activities(at).deriveDisk, input)
      .then(
        () => 'none',
        (error: unknown) => (error instanceof Error && 'type' in error ? error.type : error),
      );
  };

  const diskHash = async (
    { domainId, manifestHash }: DerivedDisks['disks'][number],
    bytes: number,
  ): Promise<string> => {
    const file = await cell.store.open({ domainId: dedupDomainId(domainId), manifestHash }, 'raw');
    const hash = createHash('sha256');
    for await (const chunk of file.read({ offset: 0, length: bytes })) hash.update(chunk);
    return hash.digest('hex');
  };

  it.each(FILES)(
    'is read out of $variant when a job first needs it, and is the image’s own from then on',
    async ({ variant }) => {
      const image = await imageOf(variant);
      const job = await aJob();
      const [disk] = (await derive(job, image)).disks;
      if (disk === undefined) throw new Error('no disk');
      const bytes = await readFile(raw);
      expect(await diskHash(disk, bytes.length)).toBe(await sha256OfRaw(raw));
      expect(await holdsOf(job)).toEqual([]);
      const repository = new ImagesRepository(cell.db);
      const row = await repository.find(cell.projectId, image);
      if (row === undefined) throw new Error('no image');
      const { imageId: _image, ...own } = disk;
      expect(diskOf(row, await repository.parts(image))).toEqual(own);
      // Another job finds it there; the same job again, what it has recorded.
      expect(await derive(await aJob(), image)).toEqual({ disks: [disk] });
      expect(await derive(job, image)).toEqual({ disks: [disk] });
    },
    DEADLINE_MS,
  );

  it('stores nothing twice of a raw file, and the disk of every other one once, by however many jobs at once', async () => {
    const rawImage = await imageOf('raw');
    const row = await new ImagesRepository(cell.db).find(cell.projectId, rawImage);
    const [disk] = (await derive(await aJob(), rawImage)).disks;
    expect(disk?.manifestHash).toBe(row?.manifest_hash);

    const file = await readFile(await convertDisk(raw, 'vhd-dynamic'));
    const sent = await cell.submitUpload(file, 'vhd');
    await cell.settle(sent.jobId);
    const jobs = [await aJob(), await aJob(), await aJob()];
    const found = await Promise.all(jobs.map((job) => derive(job, sent.imageId)));
    expect(new Set(found.map(({ disks }) => disks[0]?.manifestHash)).size).toBe(1);
    for (const job of jobs) expect(await holdsOf(job)).toEqual([]);
    const events = await readStream(cell.db, imageStream(imageId(sent.imageId)));
    expect(events.filter(({ type }) => type === 'image.disk-derived')).toHaveLength(1);
  });

  it('is never that of a file that the image no longer has', async () => {
    const own = async (): Promise<string> => {
      const path = join(await temporaryDirectory(), 'own.raw');
      await writeFile(path, randomBytes(2 ** 20));
      return convertDisk(path, 'qcow2-zlib');
    };
    const [first, second] = [
      await cell.submitUpload(await readFile(await own()), 'qcow2'),
      await cell.submitUpload(await readFile(await own()), 'qcow2'),
    ];
    for (const { jobId: id } of [first, second]) expect(await cell.settle(id)).toBe('succeeded');
    const other = await new ImagesRepository(cell.db).find(cell.projectId, second.imageId);
    if (other?.domain_id == null || other.manifest_hash === null || other.content_root === null)
      throw new Error('no bytes');
    const content = {
      domainId: other.domain_id,
      manifestHash: other.manifest_hash,
      contentRoot: other.content_root,
      virtualSizeBytes: other.virtual_size_bytes ?? 0,
      storedBytes: other.stored_bytes ?? 0,
      fileBytes: other.file_bytes ?? 0,
    };
    // While the disk is read back the bytes are taken back, and the image gets others.
    const exchange = () =>
      inTransaction(cell.db, async (trx) => {
        const stream = imageStream(imageId(first.imageId));
        await appendEvents(trx, { projectId: cell.projectId, actor: SYSTEM }, [
          { stream, key: 'requeued:x', type: 'image.requeued', data: { reason: 'a later step failed' } },
          { stream, key: 'saving:y', type: 'image.saving', data: {} },
          { stream, key: 'published:y', type: 'image.published', data: { ...content, form: 'file', attributes: {} } },
        ]);
      });
    const store: typeof cell.store = {
      ...cell.store,
      verify: async (request) => {
        const verified = await cell.store.verify(request);
        await exchange();
        return verified;
      },
    };
    const job = await aJob();
    const input = { jobId: job, epoch: 1, imageIds: [first.imageId], saga: 'server-create' } as const;
    const slow = createDeriveActivities({ db: cell.db, clock: systemClock, store, worker: 'under-test' });
    await expect(environment().run(slow.deriveDisk, input)).rejects.toMatchObject({ type: 'IMG.0144' });
    expect(await new ImagesRepository(cell.db).parts(first.imageId)).toEqual([]);
    await environment().run(activities().discardDerivation, input);
    expect(await holdsOf(job)).toEqual([]);
  });

  it('gives up what a broken attempt holds, twice if need be', async () => {
    const job = await aJob();
    const input = { jobId: job, epoch: 1, saga: 'server-create' } as const;
    for (let time = 0; time < 2; time += 1) await environment().run(activities().discardDerivation, input);
    const events = await readStream(cell.db, jobStream(jobId(job)));
    expect(events.map(({ type }) => type)).toEqual(['job.accepted', 'server-create.step-undone']);
  });

  it('is refused of an image that is not there, and of a file that nobody had looked into and that is none', async () => {
    expect(await refusalOf('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c')).toBe('IMG.0144');
    const unseen = await TestCell.start({ inspection: 'at-use' });
    try {
      const bytes = Buffer.from('#!/bin/sh\necho no disk at all\n'.repeat(40));
      const sent = await unseen.submitUpload(bytes, 'raw');
      // Anything gets in and comes back …
      expect(await unseen.settle(sent.jobId)).toBe('succeeded');
      const row = await new ImagesRepository(unseen.db).find(unseen.projectId, sent.imageId);
      expect(row).toMatchObject({ status: 'active', form: 'file', file_bytes: bytes.length });
      // … but no converter and no server ever gets it.
      expect(await unseen.db.selectFrom('image_part').selectAll().execute()).toEqual([]);
      expect(await refusalOf(sent.imageId, unseen)).toBe('IMG.0072');
    } finally {
      await unseen.stop();
    }
  });

  it('leaves the store and the log in order', async () => {
    const jobs = await cell.db.selectFrom('job').select('id').where('outcome', 'is', null).execute();
    expect(jobs.length).toBeGreaterThan(0);
    await cell.store.collect();
    expect(await cell.store.audit()).toEqual({ unknownObjects: [], missingObjects: [] });
  });
});
