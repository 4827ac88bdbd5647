import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { platformSeed, seedIdentity } from '@ims/access';
import { createBuckets } from '@ims/buckets';
import {
  type CatalogueList,
  type CatalogueLoaded,
  dedupDomainId,
  imageId,
  imageStream,
  jobId,
  PLATFORM_PROJECT,
  quotaStream,
  SYSTEM,
} from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents, readStream } from '@ims/event-log';
import { temporaryDirectory } from '@ims/testing';
import { parse } from 'yaml';
import { gatewayUnderTest, type GatewayUnderTest, PASSWORD, REGION } from '../testing/gateway-under-test';
import { publishImage } from '../testing/published-image';
import { CatalogueFileError, parseCatalogue, readCatalogue } from './catalogue-file';
import { CatalogueService } from './catalogue.service';

const BYTES = Buffer.alloc(64 * 1024, 'a disk');
const DIGEST = createHash('sha256').update(BYTES).digest('hex');

const entry = (changes: Record<string, unknown> = {}) => ({
  key: 'debian-10',
  version: '10.7',
  name: 'Debian 10.7 64bit',
  os_version: 'Debian GNU/Linux 10.7.0 64bit',
  min_disk: 1,
  format: 'raw',
  source: { bucket: 'images', object: 'debian.raw' },
  sha256: DIGEST,
  vendor: 'The Debian Project',
  licence: 'DFSG',
  features: { user_data: true, disk_hotplug: true },
  ...changes,
});

let gateway: GatewayUnderTest;
let alice: string;
let operator: string;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  await seedIdentity(gateway.parts.db, gateway.rootKey, platformSeed(REGION, PASSWORD));
  alice = await gateway.tokenOf('acme', 'alice');
  operator = await gateway.tokenOf('platform', 'operator');
});
afterAll(() => gateway.close());

const call = (token: string, method: 'GET' | 'PUT' | 'PATCH' | 'DELETE', url: string, payload?: object) =>
  gateway.app.inject({
    method,
    url,
    headers: { 'x-auth-token': token },
    ...(payload === undefined ? {} : { payload }),
  });
const load = (images: object[], token = operator) => call(token, 'PUT', '/v1/catalogue', { version: 1, images });
const codeOf = (answer: { json(): unknown }): unknown => {
  const body = answer.json();
  return body !== null && typeof body === 'object' && 'error' in body
    ? (body.error as { code: unknown }).code // The shape of every refusal of this dialect.
    : undefined;
};

/** Gives an image of the catalogue these bytes, as its job does. */
async function bring(image: { image_id: string; job_id?: string | undefined }, bytes: Buffer): Promise<void> {
  const { db } = gateway.parts;
  const root = await temporaryDirectory();
  await mkdir(join(root, 'images'));
  await writeFile(join(root, 'images', 'a.raw'), bytes);
  const buckets = createBuckets({ driver: 'directory', root, region: REGION });
  const pinned = await buckets.pin({ bucket: 'images', key: 'a.raw' });
  if (pinned === undefined || image.job_id === undefined) throw new Error('there is nothing to bring');
  const disk = await gateway.store.ingest({
    jobId: jobId(image.job_id),
    domainId: await gateway.store.plainDomain(PLATFORM_PROJECT),
    disk: { reader: 'raw', source: buckets.describe(pinned), virtualSizeBytes: bytes.length },
    onProgress: () => undefined,
    signal: AbortSignal.timeout(60_000),
  });
  const id = imageId(image.image_id);
  await inTransaction(db, async (trx) => {
    await gateway.store.publish(trx, {
      jobId: jobId(image.job_id ?? ''),
      imageId: id,
      domainId: dedupDomainId(disk.domainId),
      manifestHash: disk.manifestHash,
    });
    await appendEvents(trx, { projectId: PLATFORM_PROJECT, actor: SYSTEM }, [
      { type: 'image.saving', stream: imageStream(id), key: 'saving', data: {} },
      {
        type: 'image.published',
        stream: imageStream(id),
        key: 'published',
        data: { ...disk, form: 'file', attributes: {} },
      },
      {
        type: 'quota.settled',
        stream: quotaStream(PLATFORM_PROJECT, 'image'),
        key: `settle:${id}`,
        data: { resource: 'image', amount: 1, holder: id },
      },
    ]);
  });
}

describe('the catalogue of public images', () => {
  it('is the operator’s to load, and starts the jobs that bring the bytes (IMG-04)', async () => {
    const refused = await load([entry()], alice);
    expect([refused.statusCode, codeOf(refused)]).toEqual([403, 'IMG.0026']);
    const before = gateway.handedToEngine.started.length;
    const loaded = (await load([entry()])).json<CatalogueLoaded>();
    expect(loaded.entries).toMatchObject([{ key: 'debian-10', change: 'queued' }]);
    expect(gateway.handedToEngine.started).toHaveLength(before + 1);
    expect((await load([entry()])).json()).toMatchObject({ entries: [{ change: 'unchanged' }] });
    expect(gateway.handedToEngine.started).toHaveLength(before + 1);
    const [queued] = await readStream(gateway.parts.db, imageStream(imageId(loaded.entries[0]?.image_id ?? '')));
    expect(queued).toMatchObject({ projectId: PLATFORM_PROJECT, actor: { userName: 'operator' } });
  });

  it('says of everything where it came from and what it must be (ADV-04)', async () => {
    const { entries } = (await call(alice, 'GET', '/v1/catalogue')).json<CatalogueList>();
    expect(entries).toMatchObject([
      { key: 'debian-10', source: 'images:debian.raw', sha256: DIGEST, vendor: 'The Debian Project', is_listed: true },
    ]);
  });

  it('finds what is stored to be genuine, or changed, and nothing where there is nothing (ADV-04)', async () => {
    const [first, forged, bare] = (
      await load([
        entry({ key: 'first' }),
        entry({ key: 'forged' }),
        entry({ key: 'bare', source: undefined, sha256: undefined }),
      ])
    ).json<CatalogueLoaded>().entries;
    if (first === undefined || forged === undefined || bare === undefined) throw new Error('an entry is missing');
    await bring(first, BYTES);
    const changed = Buffer.from(BYTES);
    changed[1000] = 0;
    await bring(forged, changed);
    const verify = (id: string, token = operator) => call(token, 'GET', `/v1/catalogue/${id}/verification`);
    expect((await verify(first.image_id)).json()).toMatchObject({
      is_genuine: true,
      size: BYTES.length,
      found_sha256: DIGEST,
    });
    expect((await verify(forged.image_id)).json()).toMatchObject({ is_genuine: false, expected_sha256: DIGEST });
    expect(codeOf(await verify(bare.image_id))).toBe('IMG.0046');
    expect((await verify(first.image_id, alice)).statusCode).toBe(403);
    const mine = await publishImage(gateway, alice, BYTES);
    expect((await verify(mine.id)).statusCode).toBe(404);
    await load([]);
    const { entries } = (await call(alice, 'GET', '/v1/catalogue')).json<CatalogueList>();
    expect(entries.filter(({ is_listed }) => is_listed)).toEqual([]);
    // It is offered no more, and what is stored of it stays.
    expect((await verify(first.image_id)).json()).toMatchObject({ is_genuine: true });
  });

  it('is the same to every tenant, found by system, name and id, and nobody’s to change (IMG-04, IMG-16, IMG-17)', async () => {
    const windows = {
      key: 'windows',
      name: 'Windows Server 2019',
      os_version: 'Windows Server 2019 Standard 64bit',
      min_disk: 40,
    };
    const loaded = (await load([entry({ key: 'seen', name: 'Debian seen' }), entry(windows)])).json<CatalogueLoaded>();
    const [debian = '', other = ''] = ['seen', 'windows'].map(
      (key) => loaded.entries.find((each) => each.key === key)?.image_id,
    );
    const queued = loaded.entries.filter(({ job_id }) => job_id !== undefined);
    const stranger = (await gateway.anotherAccount()).token;
    const found = async (token: string, query: string) =>
      (await call(token, 'GET', `/v2/cloudimages?__imagetype=gold&visibility=public&${query}`))
        .json<{ images: { id: string }[] }>()
        .images.map(({ id }) => id)
        .toSorted();
    // What cannot be used yet is nothing to choose from.
    expect(await found(stranger, 'protected=true')).toEqual([]);
    for (const image of queued) await bring(image, BYTES);
    for (const token of [alice, stranger]) {
      expect(await found(token, 'protected=true')).toEqual([debian, other].toSorted());
      expect(await found(token, '__os_type=Windows')).toEqual([other]);
      expect(await found(token, '__platform=Debian')).toEqual([debian]);
      expect(await found(token, 'name=Debian%20seen')).toEqual([debian]);
      expect(await found(token, `id=${other}`)).toEqual([other]);
      expect(await found(token, 'id=11111111-1111-4111-8111-111111111111')).toEqual([]);
    }
    const shown = (await call(stranger, 'GET', `/v2/images/${debian}`)).json<Record<string, unknown>>();
    expect(shown).toMatchObject({
      visibility: 'public',
      owner: PLATFORM_PROJECT,
      protected: true,
      min_disk: 1,
      __os_feature_list: '{"user_data":"true","disk_hotplug":"true"}',
    });
    // Not even the operator's, but by the catalogue.
    for (const token of [stranger, operator]) {
      const patch = await call(token, 'PATCH', `/v2/cloudimages/${debian}`, [
        { op: 'replace', path: '/name', value: 'mine' },
      ]);
      expect([patch.statusCode, codeOf(patch)]).toEqual([400, 'IMG.0083']);
      const deletion = await call(token, 'DELETE', `/v2/images/${debian}`);
      expect([deletion.statusCode, deletion.body.includes('IMG.0094')]).toEqual([403, true]);
    }
    // What is offered no more is in no list, and is there for whoever knows it.
    await load([entry({ key: 'seen', name: 'Debian seen' })]);
    expect(await found(stranger, 'protected=true')).toEqual([debian]);
    expect((await call(stranger, 'GET', `/v2/images/${other}`)).statusCode).toBe(200);
  });

  it('is loaded at start by any number of gateways at once, once', async () => {
    const document = parseCatalogue(JSON.stringify({ version: 1, images: [entry({ key: 'at-start' })] }), 'it');
    const service = gateway.app.get(CatalogueService);
    const loaded = await Promise.all([1, 2, 3].map(() => service.loadAtStart(document)));
    const changes = loaded.flatMap(({ entries }) => entries.map(({ change }) => change));
    expect(changes.filter((change) => change === 'queued')).toHaveLength(1);
    const made = loaded.flatMap(({ entries }) => entries.filter(({ key }) => key === 'at-start'));
    expect(new Set(made.map(({ image_id }) => image_id)).size).toBe(1);
    // The first one of an installation takes the place of none that was loaded.
    expect(await service.loadAtStart(parseCatalogue('{version: 1, images: []}', 'it'), { isFirst: true })).toEqual({
      entries: [],
    });
    const { entries } = (await call(alice, 'GET', '/v1/catalogue')).json<CatalogueList>();
    expect(entries.find(({ key }) => key === 'at-start')).toMatchObject({ is_listed: true });
  });

  it.each(['catalogue.yaml', 'catalogue.example.yaml'])('can load infra/%s', async (name) => {
    const path = join(__dirname, '../../../../infra', name);
    const document = await readCatalogue(path);
    expect(document.images.length).toBeGreaterThan(0);
    // As it is sent by the command line.
    expect((await call(operator, 'PUT', '/v1/catalogue', parse(readFileSync(path, 'utf8')) as object)).statusCode).toBe(
      200,
    );
    if (name !== 'catalogue.yaml') return;
    // One of each system, and no bytes are claimed that are not there.
    const { entries } = (await call(alice, 'GET', '/v1/catalogue')).json<CatalogueList>();
    const listed = entries.filter(({ is_listed }) => is_listed);
    expect(listed.map(({ status, source }) => [status, source])).toEqual(listed.map(() => ['queued', null]));
    const platforms = await gateway.parts.db
      .selectFrom('image')
      .select('attributes')
      .where('catalogue_key', 'is not', null)
      .where('retired_at', 'is', null)
      .where('deleted_at', 'is', null)
      .execute();
    expect(new Set(platforms.map(({ attributes }) => (attributes as { __platform: string }).__platform))).toEqual(
      new Set([
        ...['Huawei Cloud EulerOS', 'CentOS', 'Debian', 'OpenSUSE', 'Fedora', 'Ubuntu', 'EulerOS', 'CoreOS', 'Windows'],
      ]),
    );
  });

  it.each([
    ['no YAML', 'images: [', /no YAML/],
    ['another version', '{version: 2, images: []}', /version/],
    ['an entry with something wrong', 'version: 1\nimages: [{key: A}]', /images\.0\.key/],
  ])('refuses a file that is %s, and says where', (_, text, message) => {
    expect(() => parseCatalogue(text, 'a.yaml')).toThrow(CatalogueFileError);
    expect(() => parseCatalogue(text, 'a.yaml')).toThrow(message);
  });
});
