import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type EmbeddedCloud, openEmbeddedCloud, storedImages } from '@ims/neighbours';
import { projectId, quotaStream, SYSTEM } from '@ims/contract';
import { appendEvents } from '@ims/event-log';
import { createImageStore } from '@ims/image-store';
import { type Database, inTransaction } from '@ims/db';
import {
  jobViolations,
  makeDebianLikeDisk,
  noise,
  temporaryDirectory,
  testTemporal,
  TestStack,
  TestWebServer,
  waitFor,
} from '@ims/testing';
import { sql, type Transaction } from 'kysely';
import { RegionUnderFault } from '../faults/support/region-under-fault';
import { BACKUPS } from './sources/backups';
import { DISKS, twoDataDisks } from './sources/disks';
import { FILES } from './sources/files';
import { KEPT_FILES, putIso } from './sources/kept-files';
import { SERVERS } from './sources/servers';
import { UPLOADS } from './sources/uploads';
import { type Answer, comparedTo, type Prepared, type Source, SourceBench } from './sources/source';

const SOURCES: readonly Source[] = [...FILES, ...KEPT_FILES, ...UPLOADS, ...SERVERS, ...DISKS, ...BACKUPS];

// Every job of a few megabytes takes a second or two; all of them are in the queue at once.
const DEADLINE_MS = 120_000;
const MIB = 2 ** 20;

const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const run = promisify(execFile);

interface JobDocument {
  status: string;
  error_code: string | null;
  fail_reason: string | null;
  entities: { image_id?: string; sub_jobs_result?: { entities: { image_id?: string } }[] };
}

describe('an image from every source (IMG-01, ADV-02)', () => {
  let region: RegionUnderFault;
  let bench: SourceBench;
  let cloud: EmbeddedCloud;
  let web: TestWebServer;
  const prepared = new Map<string, Prepared>();
  const jobs = new Map<string, string>();

  beforeAll(async () => {
    web = await TestWebServer.start();
    const stack = await TestStack.start({
      env: { IMS_WEB_DOWNLOAD_PORTS: String(web.port), IMS_WEB_DOWNLOAD_ALLOW: '127.0.0.1' },
    });
    region = RegionUnderFault.watch(stack, await testTemporal());
    const store = createImageStore({ db: stack.db, directory: stack.storeDirectory, threads: 1 });
    cloud = await openEmbeddedCloud({
      db: stack.db,
      directory: stack.cloudDirectory,
      images: storedImages(store),
      qemu: false,
    });
    const directory = await temporaryDirectory();
    const { path: raw } = await makeDebianLikeDisk(directory);
    const otherRaw = join(directory, 'data.raw');
    await writeFile(otherRaw, Buffer.concat([noise('data', 5 * MIB), Buffer.alloc(7 * MIB)]));
    bench = new SourceBench(stack, cloud, raw, otherRaw, directory, web);
    // Sources and repetitions are more than the 50 images that a project may have (CRE-23).
    const project = projectId(bench.projectId);
    await inTransaction(region.db, (trx) =>
      appendEvents(trx, { projectId: project, actor: SYSTEM }, [
        {
          stream: quotaStream(project, 'image'),
          key: 'limit:test',
          type: 'quota.limit-set',
          data: { resource: 'image', limit: 500 },
        },
      ]),
    );
    // All side by side, as in life; each test then looks at its own.
    for (const source of SOURCES) {
      const ready = await source.prepare(bench);
      prepared.set(source.name, ready);
      jobs.set(source.name, await ready.submit());
    }
  }, DEADLINE_MS);
  afterAll(async () => {
    await cloud.close();
    await region.stop();
    await web.stop();
  });

  const preparedOf = (name: string): Prepared => {
    const found = prepared.get(name);
    if (found === undefined) throw new Error(`${name} was not prepared`);
    return found;
  };

  const ended = (id: string): Promise<JobDocument> =>
    waitFor(
      async () => {
        const job = (await bench.stack.call('GET', `/v1/${bench.projectId}/jobs/${id}`)).json as JobDocument;
        return job.status === 'SUCCESS' || job.status === 'FAIL' ? job : undefined;
      },
      { deadlineMs: DEADLINE_MS, what: `job ${id} ends` },
    );

  const allEnded = async (): Promise<void> => {
    for (const id of jobs.values()) await ended(id);
  };

  const imagesOf = ({ entities }: JobDocument): (string | undefined)[] =>
    entities.sub_jobs_result?.map((sub) => sub.entities.image_id) ?? [entities.image_id];

  /** Length of an image's raw disk, as the smallest range of it says. */
  const diskSizeOf = async (id = ''): Promise<number> => {
    const { headers } = await bench.stack.call('GET', `/v2/images/${id}/file?format=raw`, undefined, {
      range: 'bytes=0-0',
    });
    return Number(headers.get('content-range')?.split('/').at(-1));
  };

  it.each(SOURCES)(
    'made from $name serves the bytes of its source and says where they are from ($cites)',
    async ({ name }) => {
      const { images } = preparedOf(name);
      const job = await ended(jobs.get(name) ?? '');
      expect(job).toMatchObject({ status: 'SUCCESS', fail_reason: null });
      const ids = imagesOf(job);
      expect(ids).toHaveLength(images.length);
      for (const [i, { raw, fields, file }] of images.entries()) {
        const list = await bench.stack.call('GET', `/v2/cloudimages?id=${ids[i]}`);
        expect(list.json).toMatchObject({ images: [{ status: 'active', __imagetype: 'private', ...fields }] });
        const path = `/v2/images/${ids[i]}/file?format=raw`;
        const compared = comparedTo(raw, (range) => bench.stack.download(path, range), await diskSizeOf(ids[i]));
        expect(await compared).toEqual({ equal: true, zeroBehind: true });
        if (file !== undefined) {
          const kept = await bench.stack.download(`/v2/images/${ids[i]}/file`);
          expect(kept.equals(await readFile(file))).toBe(true);
        }
      }
    },
    DEADLINE_MS,
  );

  /** What a refused call answers, at once or by its job. */
  const refusalOf = async ({ status, json, text }: Answer): Promise<string> => {
    const { job_id: id, error } = json as { job_id?: string; error?: { code: string } };
    if (id !== undefined) return (await ended(id)).error_code ?? 'none';
    return status < 400 ? `accepted: ${text}` : (error?.code ?? text);
  };

  it.each(SOURCES.flatMap(({ name, refusals = [] }) => refusals.map((refusal) => ({ source: name, ...refusal }))))(
    'like $source is refused for $what with $code, and nothing remains',
    async ({ code, call }) => {
      await allEnded();
      expect(await refusalOf(await call(bench))).toBe(code);
      expect(await bench.stack.db.selectFrom('cloud.snapshot').select('id').execute()).toEqual([]);
    },
    DEADLINE_MS,
  );

  /** Keeps every ingest from taking segments, for as long as `during` takes. */
  const whileIngestWaits = (during: (trx: Transaction<Database>) => Promise<unknown>): Promise<unknown> =>
    inTransaction(region.db, async (trx) => {
      await sql`lock table ims.segment_hold in exclusive mode`.execute(trx);
      await during(trx);
    });

  // One for each kind of source: the formats of a file differ in their reader alone.
  const cancelled = SOURCES.filter(({ name }) => !name.startsWith('a file in ') || name === 'a file in qcow2-v3');
  it.each(cancelled)(
    'made from $name and cancelled half-way leaves nothing ($cites)',
    async ({ name }) => {
      // Jobs of the other tests would wait for the lock as well.
      await allEnded();
      let id = '';
      await whileIngestWaits(async () => {
        id = await preparedOf(name).submit();
        await waitFor(async () => (await region.running()).some(({ step }) => step === 'ingest'), {
          deadlineMs: DEADLINE_MS,
          what: `the ingest of ${name} is under way`,
          everyMs: 10,
        });
        expect(await region.cancel(id)).toBe(202);
      });
      expect(await region.settle([id])).toEqual(['cancelled']);
      expect(await jobViolations(region.db, id)).toEqual([]);
      expect(await bench.stack.db.selectFrom('cloud.snapshot').select('id').execute()).toEqual([]);
    },
    DEADLINE_MS,
  );

  /** One call of the official SDK, by a Python of its own. */
  const withSdk = async (body: object): Promise<{ job: JobDocument; progress: JobDocument; list: object[] }> => {
    const { url, identity } = bench.stack;
    const script = join(__dirname, '../clients/disk_images.py');
    const { access, secret, projectId } = identity;
    const { stdout } = await run(PYTHON, [script, url, access, secret, projectId, JSON.stringify(body)]);
    // Written by the script.
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Awaited<ReturnType<typeof withSdk>>;
  };

  it(
    'is what the official SDK makes of a server, an ISO file, a disk, and the data disks of a server, whose images it finds in the parts (ims-api 6.2, 10.3)',
    async () => {
      const { id: instance_id, volumes } = await bench.aServer(twoDataDisks(bench));
      const server = await withSdk({ name: 'sdk-server', instance_id });
      expect(server.job).toMatchObject({ status: 'SUCCESS', job_type: 'imsCreateImageByInstance' });
      expect(server.list).toMatchObject([{ name: 'sdk-server', status: 'active' }]);
      const medium = { name: 'sdk-iso', type: 'IsoImage', os_version: 'CentOS 7.6 64bit', min_disk: 40 };
      const iso = await withSdk({ ...medium, image_url: (await putIso(bench)).image_url });
      expect(iso.job).toMatchObject({ status: 'SUCCESS', job_type: 'imsImportImageJob' });
      expect(iso.list).toMatchObject([{ name: 'sdk-iso', status: 'active', disk_format: 'iso' }]);

      const disks = volumes.filter(({ bootIndex }) => bootIndex === null).map(({ volumeId }) => volumeId);
      const [volume_id] = disks;
      const one = await withSdk({ name: 'sdk-disk', volume_id, os_version: 'Ubuntu 18.04 Server 64bit', type: 'ECS' });
      expect(one.job).toMatchObject({ status: 'SUCCESS', job_type: 'imsVolumeCreateImageJob' });
      expect(one.list).toMatchObject([{ name: 'sdk-disk', status: 'active', min_disk: 10 }]);

      const data_images = disks.map((id, n) => ({ name: `sdk-${n}`, volume_id: id, tags: ['team.ops'] }));
      const several = await withSdk({ data_images });
      for (const document of [several.job, several.progress]) {
        expect(document).toMatchObject({
          status: 'SUCCESS',
          job_type: 'imsVolumesToSysDataImagesJob',
          entities: {
            process_percent: 1,
            sub_jobs_result: data_images.map(({ name: image_name }) => ({
              status: 'SUCCESS',
              job_type: 'imsCopyVolumeToImageJob',
              entities: { image_name },
            })),
          },
        });
      }
      expect(several.list).toMatchObject([{ name: 'sdk-0', status: 'active', tags: ['team=ops'] }]);
    },
    DEADLINE_MS,
  );

  it('leaves a region in order', async () => {
    expect(await region.violations([...jobs.values()])).toEqual([]);
  });
});
