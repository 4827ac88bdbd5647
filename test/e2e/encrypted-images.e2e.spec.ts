import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { TestStack } from '@ims/testing';
import { sql } from 'kysely';
import { z } from 'zod';

const run = promisify(execFile);
const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const MIB = 2 ** 20;
jest.setTimeout(180_000);

const copied = z.object({
  job: z.object({ status: z.string(), job_type: z.string(), entities: z.object({ image_id: z.string() }) }),
  image: z.record(z.string(), z.unknown()),
});

describe('encrypted images', () => {
  let stack: TestStack;
  let disk: Buffer;
  let sha256: string;
  let key: string;
  let image: string;

  beforeAll(async () => {
    stack = await TestStack.start();
    // Random bytes do not compress: a store in the open would have them literally.
    disk = Buffer.concat([Buffer.alloc(MIB), randomBytes(7 * MIB)]);
    sha256 = createHash('sha256').update(disk).digest('hex');
    await writeFile(join(stack.bucketDirectory, 'secret.raw'), disk);
    key = (await kms<{ key_info: { key_id: string } }>('create-key', { key_alias: 'images' })).key_info.key_id;
    const job = await stack.runJob('/v2/cloudimages/action', {
      name: 'secret',
      image_url: 'images:secret.raw',
      min_disk: 1,
      os_version: 'Other_Linux (64_bit)',
      cmk_id: key,
    });
    expect(job).toMatchObject({ status: 'SUCCESS' });
    image = job.entities.image_id ?? '';
  });
  afterAll(() => stack.stop());

  async function kms<T>(operation: string, body: object): Promise<T> {
    const { status, json, text } = await stack.call('POST', `/v1.0/${stack.identity.projectId}/kms/${operation}`, body);
    if (status !== 200) throw new Error(`${operation}: ${status} ${text}`);
    // The wire schemas of keys.
    return json as T;
  }

  it('leave no guest byte in the open, neither in the store nor in a table, and nothing that tells which image they are (ENC-01)', async () => {
    const places: Buffer[] = [];
    for (const entry of await readdir(stack.storeDirectory, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) places.push(await readFile(join(entry.parentPath, entry.name)));
    expect(places.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(7 * MIB);
    const { rows: tables } = await sql<{ name: string }>`
      select quote_ident(schemaname) || '.' || quote_ident(tablename) as name from pg_tables
      where schemaname not in ('pg_catalog', 'information_schema') and has_table_privilege(schemaname || '.' || tablename, 'select')`.execute(
      stack.db,
    );
    for (const { name } of tables) {
      const { rows } = await sql<{ row: string }>`select t::text as row from ${sql.raw(name)} t`.execute(stack.db);
      places.push(Buffer.from(rows.map(({ row }) => row).join('\n')));
    }
    const some = disk.subarray(3 * MIB, 3 * MIB + 24);
    for (const form of [some, Buffer.from(some.toString('hex')), Buffer.from(some.toString('base64'))])
      expect(places.filter((place) => place.includes(form))).toEqual([]);
    // Nor what tells which image it is: the digest of its bytes, of a segment, or of a piece of it.
    const leaf = disk.subarray(2 * MIB, 2 * MIB + 16 * 1024);
    for (const bytes of [disk, leaf]) {
      const digest = createHash('sha256').update(bytes).digest();
      for (const form of [digest, Buffer.from(digest.toString('hex'))])
        expect(places.filter((place) => place.includes(form))).toEqual([]);
    }
    expect(await stack.guestSha256(image)).toBe(sha256);
  });

  it('are made and opened again by copies of the official SDK (REP-01, REP-02)', async () => {
    const { access, secret, projectId } = stack.identity;
    const other = (await kms<{ key_info: { key_id: string } }>('create-key', { key_alias: 'copies' })).key_info.key_id;
    const script = join(__dirname, '../clients/image_copy.py');
    const { stdout } = await run(PYTHON, [script, stack.url, access, secret, projectId, image, other]);
    const { encrypted, plain } = z
      .object({ encrypted: copied, plain: copied })
      .parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
    for (const { job } of [encrypted, plain])
      expect(job).toMatchObject({ status: 'SUCCESS', job_type: 'imsCopyImageInRegionJob' });
    expect(encrypted.image).toMatchObject({ name: 'sdk-encrypted', system__cmkid: other, lazyloading: 'true' });
    expect(plain.image).toMatchObject({ name: 'sdk-plain', disk_format: 'zvhd2' });
    expect(plain.image['system__cmkid'] ?? null).toBeNull();
    for (const { job } of [encrypted, plain]) expect(await stack.guestSha256(job.entities.image_id)).toBe(sha256);
  });

  it('tell no log their data key, nor the secrets of whoever called (ENC-01)', async () => {
    const domain = await stack.db
      .selectFrom('dedup_domain')
      .select(['id', 'wrapped_key'])
      .where('key_id', '=', key)
      .executeTakeFirstOrThrow();
    const { data_key: dataKey } = await kms<{ data_key: string }>('decrypt-datakey', {
      key_id: key,
      cipher_text: domain.wrapped_key?.toString('hex'),
      datakey_cipher_length: '32',
      encryption_context: {
        'ims:domain': domain.id,
        'ims:project': stack.identity.projectId,
        'ims:region': stack.region,
      },
    });
    const asked = await kms<{ plain_text: string }>('create-datakey', { key_id: key });
    const bytes = [dataKey, asked.plain_text].map((hex) => Buffer.from(hex, 'hex'));
    expect(bytes.map(({ length }) => length)).toEqual([32, 32]);
    const secrets = [
      ...[...bytes, disk.subarray(3 * MIB, 3 * MIB + 24)].flatMap((each) => [
        each.toString('hex'),
        each.toString('base64'),
        each.toString('base64url'),
      ]),
      stack.identity.secret,
      stack.identity.password,
    ];
    const logs = await Promise.all(
      (['gateway', 'worker'] as const).map((part) => readFile(stack.logFile(part), 'utf8')),
    );
    expect(logs[0]).toContain('decrypt-datakey');
    expect(logs[1]).toContain('worker ready');
    for (const log of logs)
      expect(secrets.filter((secret) => log.toLowerCase().includes(secret.toLowerCase()))).toEqual([]);
  });

  it('make no servers and disks, whose bytes would lie in the open', async () => {
    const path = `/v2/${stack.identity.projectId}/cloudvolumes`;
    const refused = await stack.call('POST', path, { volume: { name: 'a', imageRef: image, size: 40, count: 1 } });
    expect([refused.status, refused.text]).toEqual([400, expect.stringMatching(/EVS\.1009.*encrypted/)]);
  });

  it('leave decrypted, and not by quick export (EXP-06)', async () => {
    const path = `/v1/cloudimages/${image}/file`;
    const quick = await stack.call('POST', path, { bucket_url: 'images:opened.zvhd2', is_quick_export: true });
    expect([quick.status, quick.text]).toEqual([400, expect.stringContaining('IMG.0105')]);
    const job = await stack.runJob(path, { bucket_url: 'images:opened.raw', file_format: 'raw' });
    expect(job).toMatchObject({ status: 'SUCCESS' });
    expect((await readFile(join(stack.bucketDirectory, 'opened.raw'))).equals(disk)).toBe(true);
  });

  it('are closed when their key is disabled, and open when it is enabled (ENC-05)', async () => {
    await kms('disable-key', { key_id: key });
    const copy = await stack.call('POST', `/v1/cloudimages/${image}/copy`, { name: 'a' });
    expect([copy.status, copy.text]).toEqual([400, expect.stringContaining('IMG.0102')]);
    // Another process has not read it yet, so there is nothing in its memory to wait for.
    await stack.restart('gateway');
    const download = await stack.call('GET', `/v2/images/${image}/file?format=raw`);
    expect([download.status, download.text]).toEqual([400, expect.stringContaining('IMG.0097')]);
    await kms('enable-key', { key_id: key });
    expect(await stack.guestSha256(image)).toBe(sha256);
  });
});
