import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { catalogueDocument, dedupDomainId, imageId, PLATFORM_PROJECT, SYSTEM, usageStream } from '@ims/contract';
import { systemClock } from '@ims/db';
import { readStream } from '@ims/event-log';
import { loadCatalogue } from '@ims/job-engine';
import { CloudSagas, convertDisk, makeDebianLikeDisk, temporaryDirectory, TestCell } from '@ims/testing';

describe('image-create of an entry of the catalogue (IMG-04, ADV-04)', () => {
  let cell: TestCell;
  let disk: string;
  let file: Buffer;

  beforeAll(async () => {
    cell = await TestCell.start();
    disk = await convertDisk((await makeDebianLikeDisk(await temporaryDirectory())).path, 'qcow2-zlib');
    file = await readFile(disk);
    await cell.putFile(disk, 'debian.qcow2');
  });
  afterAll(() => cell.stop());

  const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

  /** Loads a catalogue of one entry, and waits for the job that brings its bytes. */
  async function load(changes: Record<string, unknown> = {}) {
    const entry = {
      key: 'debian',
      version: '1',
      name: 'Debian 10.7 64bit',
      os_version: 'Debian GNU/Linux 10.7.0 64bit',
      min_disk: 1,
      source: { bucket: 'images', object: 'debian.qcow2' },
      sha256: sha256(file),
      vendor: 'The Debian Project',
      licence: 'DFSG',
      ...changes,
    };
    const { db, region } = cell;
    const { entries, outboxIds } = await loadCatalogue(
      { db, region, clock: systemClock },
      catalogueDocument.parse({ version: 1, images: [entry] }),
      (jobId) => ({ projectId: PLATFORM_PROJECT, actor: SYSTEM, ...(jobId === undefined ? {} : { jobId }) }),
    );
    for (const id of outboxIds) await cell.starter.startNow(id);
    const [{ image_id: id = '', job_id: jobId } = {}] = entries;
    const outcome = jobId === undefined ? undefined : await cell.settle(jobId);
    const image = await db.selectFrom('image').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    return { id, jobId, outcome, image };
  }

  it('keeps the vendor’s file byte for byte, and charges nobody (BIL-01)', async () => {
    const { id, outcome, image } = await load();
    expect(outcome).toBe('succeeded');
    expect(image).toMatchObject({ status: 'active', form: 'file', disk_format: 'qcow2', image_type: 'gold' });
    expect(image.file_bytes).toBe(file.length);
    if (image.domain_id === null || image.manifest_hash === null) throw new Error('it has no bytes');
    const content = { domainId: dedupDomainId(image.domain_id), manifestHash: image.manifest_hash };
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await cell.store.open(content, 'raw')).read()) chunks.push(Buffer.from(chunk));
    expect(Buffer.concat(chunks).equals(file)).toBe(true);
    expect(await readStream(cell.db, usageStream(imageId(id)))).toEqual([]);
    // Once more: nothing is done.
    expect(await load()).toMatchObject({ id, jobId: undefined });
    await cell.checkSystem();
  });

  it('is used by others, whose servers outlive its offer (IMG-04)', async () => {
    const { id } = await load({ key: 'used' });
    const cloud = new CloudSagas(cell);
    const { jobId, serverIds } = await cloud.createServers(id);
    expect(await cell.settle(jobId)).toBe('succeeded');
    await load({ key: 'another' });
    const image = await cell.db.selectFrom('image').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    expect(image.retired_at).not.toBeNull();
    expect(image.deleted_at).toBeNull();
    // Its bytes are still what the server reads.
    const copy = await cell.submitServerImage(serverIds[0] ?? '');
    expect(await cell.settle(copy.jobId)).toBe('succeeded');
    await cell.checkSystem();
  });

  it('takes no other bytes than those that the catalogue names, and leaves nothing of them', async () => {
    const { id, jobId, outcome, image } = await load({ key: 'forged', sha256: 'f'.repeat(64) });
    expect(outcome).toBe('failed');
    expect(image.status).toBe('killed');
    const job = await cell.db
      .selectFrom('job')
      .selectAll()
      .where('id', '=', jobId ?? '')
      .executeTakeFirstOrThrow();
    expect(job).toMatchObject({ error_code: 'IMG.0057' });
    expect(job.fail_reason).toContain(sha256(file));
    await cell.checkSystem();
    // The next load tries again, with an image of its own.
    expect((await load({ key: 'forged', sha256: 'f'.repeat(64) })).id).not.toBe(id);
  });

  it('offers a version until the next one can be used, and no longer', async () => {
    const older = await load({ key: 'moving' });
    const other = join(await temporaryDirectory(), 'other.qcow2');
    await writeFile(other, file);
    await cell.putFile(other, 'other.qcow2');
    const wrong = await load({ key: 'moving', version: '2', sha256: 'f'.repeat(64) });
    expect(wrong.outcome).toBe('failed');
    const offered = () =>
      cell.db
        .selectFrom('image')
        .select('id')
        .where('catalogue_key', '=', 'moving')
        .where('retired_at', 'is', null)
        .where('deleted_at', 'is', null)
        .execute();
    expect(await offered()).toEqual([{ id: older.id }]);
    const newer = await load({ key: 'moving', version: '2', source: { bucket: 'images', object: 'other.qcow2' } });
    expect(newer.outcome).toBe('succeeded');
    expect(await offered()).toEqual([{ id: newer.id }]);
    const image = await cell.db.selectFrom('image').selectAll().where('id', '=', older.id).executeTakeFirstOrThrow();
    // Servers that were made from it go on reading its bytes.
    expect(image).toMatchObject({ status: 'active', manifest_hash: older.image.manifest_hash });
    await cell.checkSystem();
  });
});
