import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dedupDomainId } from '@ims/contract';
import {
  convertDisk,
  describeSagaLaws,
  type Fault,
  makeDebianLikeDisk,
  type SagaUnderTest,
  submitWebFile,
  temporaryDirectory,
  TestCell,
  TestWebServer,
  waitFor,
  webFileSagaOf,
} from '@ims/testing';

describe('image-create from a file of the web', () => {
  let cell: TestCell;
  let web: TestWebServer;
  let saga: SagaUnderTest;
  let bytes: Buffer;

  beforeAll(async () => {
    cell = await TestCell.start();
    web = await TestWebServer.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    bytes = await readFile(await convertDisk(disk.path, 'qcow2-zlib'));
    web.files.set('/disk.qcow2', { bytes, etag: '"1"' });
    saga = webFileSagaOf(cell, { uri: web.urlOf('/disk.qcow2'), diskFormat: 'qcow2' });
  });
  afterAll(async () => {
    await cell.stop();
    await web.stop();
  });

  // The steps after the first are those of a file that was sent.
  describeSagaLaws(
    {
      name: 'image-create',
      steps: ['fetchWebFile', 'openUsage'],
      undos: [
        { undo: 'dropFetched', failAt: 'inspectSource' },
        { undo: 'concludeJob', failAt: 'fetchWebFile' },
      ],
    },
    () => saga,
  );

  it('leaves nothing of what was fetched, however its job ended', async () => {
    const isNothingLeft = async (): Promise<boolean> => (await cell.staged.list()).length === 0;
    await waitFor(isNothingLeft, { deadlineMs: 30_000, what: 'every fetched file is deleted' });
  });

  it('keeps the file byte for byte, fetched once although its worker died in the middle', async () => {
    web.files.set('/cut.qcow2', { bytes, etag: '"2"', cutAfter: Math.floor(bytes.length / 2) });
    web.requests.length = 0;
    const dies: Fault = async ({ real, call }) => {
      // The first attempt is lost after it has all of the file, and so is its report.
      const result = await real();
      if (call === 1) throw new Error('died after the effect');
      return result;
    };
    const job = await submitWebFile(cell, { uri: web.urlOf('/cut.qcow2'), diskFormat: 'qcow2' }, (id) =>
      cell.faults.plan(id, { fetchWebFile: dies }),
    );
    expect(await cell.settle(job.jobId)).toBe('succeeded');
    const sent = web.requests.filter(({ path }) => path === '/cut.qcow2');
    const [first, ...later] = sent.map(({ headers }) => headers.range);
    expect(first).toBeUndefined();
    expect(later.length).toBeGreaterThan(0);
    const offsets = later.map((range) => Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1]));
    expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b));
    const image = await cell.db.selectFrom('image').selectAll().where('id', '=', job.imageId).executeTakeFirstOrThrow();
    expect(image).toMatchObject({ status: 'active', form: 'file', disk_format: 'qcow2', file_bytes: bytes.length });
    const file = await cell.store.open(
      { domainId: dedupDomainId(image.domain_id ?? ''), manifestHash: image.manifest_hash ?? '' },
      'raw',
    );
    const stored = createHash('sha256');
    for await (const chunk of file.read()) stored.update(chunk);
    expect(stored.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it.each([
    ['a file that is not there', '/absent.qcow2', 'qcow2', 'IMG.0057', 'answered 404'],
    ['a file of another format than the image', '/disk.qcow2', 'vhd', 'IMG.0057', 'qcow2'],
  ])('is refused %s, and the image waits for another', async (_what, path, diskFormat, code, reason) => {
    const job = await submitWebFile(cell, { uri: web.urlOf(path), diskFormat });
    expect(await cell.settle(job.jobId)).toBe('failed');
    const row = await cell.db.selectFrom('job').selectAll().where('id', '=', job.jobId).executeTakeFirstOrThrow();
    expect(row.error_code).toBe(code);
    expect(row.fail_reason).toContain(reason);
    const image = await cell.db.selectFrom('image').select('status').where('id', '=', job.imageId).executeTakeFirst();
    expect(image?.status).toBe('queued');
    await cell.checkJob(job.jobId, 'failed');
  });
});
