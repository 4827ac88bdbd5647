import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dedupDomainId } from '@ims/contract';
import {
  aKey,
  copySagaOf,
  describeSagaLaws,
  makeDebianLikeDisk,
  type SagaUnderTest,
  sha256OfRaw,
  submitCopy,
  submitDeletion,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';
import { sql } from 'kysely';

describe('image-copy', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let raw: string;
  let image: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    image = await cell.anImage(raw);
    saga = copySagaOf(cell, image);
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'image-copy',
      steps: ['checkImages', 'copyImageDisk', 'verifyDisk', 'publishImage', 'openUsage'],
      // The others are those of every image, and under the laws of image-create.
      only: ['copyImageDisk', 'openUsage'],
      undos: [
        { undo: 'dropImageHolds', failAt: 'copyImageDisk' },
        { undo: 'discardCopy', failAt: 'verifyDisk' },
        { undo: 'withdrawImage', failAt: 'openUsage' },
        { undo: 'voidUsage', failAt: 'openUsage' },
        { undo: 'concludeJob', failAt: 'checkImages' },
      ],
    },
    () => saga,
  );

  const rowOf = (id: string) => cell.db.selectFrom('image').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  const sha256Of = async (id: string): Promise<string> => {
    const row = await rowOf(id);
    const disk = { domainId: dedupDomainId(row.domain_id ?? ''), manifestHash: row.manifest_hash ?? '' };
    const digest = createHash('sha256');
    for await (const chunk of (await cell.store.open(disk, 'raw')).read()) digest.update(chunk);
    return digest.digest('hex');
  };
  const copied = async (source: string, cmkId?: string): Promise<string> => {
    const { jobId, imageId } = await submitCopy(cell, source, cmkId === undefined ? {} : { cmkId });
    expect(await cell.settle(jobId)).toBe('succeeded');
    await cell.checkJob(jobId, 'succeeded');
    return imageId;
  };
  const outcomeOf = (jobId: string) =>
    cell.db.selectFrom('job').select(['outcome', 'error_code']).where('id', '=', jobId).executeTakeFirst();

  it('converts plain and encrypted images into each other with the same guest bytes (REP-01, REP-02, BIL-09)', async () => {
    const [one, two] = [await aKey(cell), await aKey(cell)];
    const plain = await copied(image);
    const encrypted = await copied(plain, one);
    const other = await copied(encrypted, two);
    const back = await copied(other);
    const expected = await sha256OfRaw(raw);
    const rows = await Promise.all([plain, encrypted, other, back].map(rowOf));
    for (const id of [plain, encrypted, other, back]) expect(await sha256Of(id)).toBe(expected);
    expect(rows.map(({ attributes }) => attributes)).toEqual([
      expect.not.objectContaining({ __system__cmkid: expect.anything() as unknown }),
      expect.objectContaining({ __system__encrypted: '1', __system__cmkid: one, __lazyloading: 'true' }),
      expect.objectContaining({ __system__encrypted: '1', __system__cmkid: two, __originalimagename: encrypted }),
      expect.not.objectContaining({ __system__encrypted: expect.anything() as unknown }),
    ]);
    // Where no key changes no byte is stored twice; where one does nobody can tell that the bytes are the same.
    const source = await rowOf(image);
    expect(rows[0]?.manifest_hash).toBe(source.manifest_hash);
    expect(rows[3]?.content_root).toBe(source.content_root);
    expect(new Set([source, rows[1], rows[2]].map((row) => row?.content_root)).size).toBe(3);
    // A digest would tell which of the known images an encrypted one is.
    const ordered = await cell.db
      .selectFrom('outbox')
      .select('workflow_id')
      .where('workflow_type', '=', 'imageDigest')
      .execute();
    const ids = ordered.map(({ workflow_id: id }) => id.replace('image-digest-', ''));
    expect(ids).toEqual(expect.arrayContaining([plain, back]));
    expect(ids).not.toContain(encrypted);
    const recorded = await cell.db.selectFrom('event').select('type').where('type', '=', 'usage.recorded').execute();
    expect(recorded).toEqual([]);
  });

  it('leaves the data key nowhere: not beside the bytes, not in a table, not in a history (ENC-01)', async () => {
    const opened: Buffer[] = [];
    const { createDataKey } = cell.keys;
    jest.spyOn(cell.keys, 'createDataKey').mockImplementation(async (...input) => {
      const made = await createDataKey.apply(cell.keys, input);
      opened.push(Buffer.from(made.plaintext));
      return made;
    });
    const { jobId } = await submitCopy(cell, image, { cmkId: await aKey(cell) });
    expect(await cell.settle(jobId)).toBe('succeeded');
    jest.restoreAllMocks();
    const [key] = opened;
    if (key === undefined) throw new Error('no data key was made');
    const forms = [key, Buffer.from(key.toString('hex')), Buffer.from(key.toString('base64'))];
    const places: Buffer[] = [];
    const store = join(cell.directory, 'store');
    for (const entry of await readdir(store, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) places.push(await readFile(join(entry.parentPath, entry.name)));
    const { rows: tables } = await sql<{ name: string }>`
      select quote_ident(schemaname) || '.' || quote_ident(tablename) as name from pg_tables
      where schemaname not in ('pg_catalog', 'information_schema') and has_table_privilege(schemaname || '.' || tablename, 'select')`.execute(
      cell.db,
    );
    for (const { name } of tables) {
      const { rows } = await sql<{ row: string }>`select t::text as row from ${sql.raw(name)} t`.execute(cell.db);
      places.push(Buffer.from(rows.map(({ row }) => row).join('\n')));
    }
    const { events } = await cell.temporal.client.workflow.getHandle(jobId).fetchHistory();
    places.push(Buffer.from(JSON.stringify(events)));
    expect(tables.length).toBeGreaterThan(20);
    for (const place of places) for (const form of forms) expect(place.includes(form)).toBe(false);
  });

  it('fails with the code of the key that cannot be used any more, and leaves nothing (ENC-02, ENC-05)', async () => {
    const [mine, theirs] = [await aKey(cell), await aKey(cell)];
    const encrypted = await copied(image, mine);
    const attempt = async (source: string, disabled: string, cmkId?: string) => {
      await cell.keys.disableKey(cell.projectId, disabled);
      const { jobId } = await submitCopy(cell, source, cmkId === undefined ? {} : { cmkId });
      await cell.settle(jobId);
      await cell.keys.enableKey(cell.projectId, disabled);
      await cell.checkJob(jobId, 'failed');
      return (await outcomeOf(jobId))?.error_code;
    };
    expect(await attempt(image, theirs, theirs)).toBe('IMG.0097');
    expect(await attempt(encrypted, mine)).toBe('IMG.0102');
    // Switched off between the look at it and the copy it is still the source's.
    const { copy } = cell.store;
    jest.spyOn(cell.store, 'copy').mockImplementation(async (request) => {
      await cell.keys.disableKey(cell.projectId, mine);
      return copy(request);
    });
    const { jobId } = await submitCopy(cell, encrypted);
    await cell.settle(jobId);
    jest.restoreAllMocks();
    expect((await outcomeOf(jobId))?.error_code).toBe('IMG.0102');
    await cell.keys.enableKey(cell.projectId, mine);
    // Enabled again, it works again.
    await copied(encrypted);
    await cell.checkSystem();
  });

  it('copies the bytes of an image that is deleted meanwhile, and not of one that was deleted before (C6)', async () => {
    const [first, second] = [await cell.anImage(raw), await cell.anImage(raw)];
    const gone = async (id: string): Promise<void> => {
      await cell.settle((await submitDeletion(cell, { imageId: id })).jobId);
      await cell.store.collect();
    };
    const during = await submitCopy(cell, first, {
      cmkId: await aKey(cell),
      before: (id) =>
        cell.faults.plan(id, {
          copyImageDisk: async ({ real, call }) => {
            if (call === 1) await gone(first);
            return real();
          },
        }),
    });
    expect(await cell.settle(during.jobId)).toBe('succeeded');
    expect(await sha256Of(during.imageId)).toBe(await sha256OfRaw(raw));
    const before = await submitCopy(cell, second, {
      before: (id) =>
        cell.faults.plan(id, {
          checkImages: async ({ real, call }) => {
            if (call === 1) await gone(second);
            return real();
          },
        }),
    });
    expect(await cell.settle(before.jobId)).toBe('failed');
    expect(await outcomeOf(before.jobId)).toMatchObject({ error_code: 'IMG.0046' });
    await cell.checkSystem();
  });

  it('makes encrypted images of files, and of files that are kept as they are copies that are disks (ENC-02)', async () => {
    const cmkId = await aKey(cell);
    const key = 'encrypted.raw';
    await cell.putFile(raw, key);
    const imported = await cell.submitImport({ key, cmkId });
    expect(await cell.settle(imported.jobId)).toBe('succeeded');
    expect(await sha256Of(imported.imageId)).toBe(await sha256OfRaw(raw));
    expect((await rowOf(imported.imageId)).attributes).toMatchObject({ __system__cmkid: cmkId, __os_type: 'Linux' });
    const kept = await cell.submitUpload(await readFile(raw), 'raw');
    expect(await cell.settle(kept.jobId)).toBe('succeeded');
    const disk = await rowOf(await copied(kept.imageId, cmkId));
    expect(disk).toMatchObject({ form: 'disk', disk_format: 'zvhd2' });
  });
});
