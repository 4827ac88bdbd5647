import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { dryRunAnswer } from '@ims/contract';
import { noise, TestStack, waitFor } from '@ims/testing';

const run = promisify(execFile);
const PYTHON = resolve(__dirname, '../../.cache/python/bin/python3');
const MIB = 2 ** 20;

interface CopyFlow {
  refused: string;
  percents: number[];
  job: { status: string; job_type: string; fail_reason: string | null; entities: { image_id: string } };
}

describe('two regions, each with everything of its own (REG-01)', () => {
  let joined: Awaited<ReturnType<typeof TestStack.startJoined>>;
  let here: TestStack;
  let there: TestStack;

  beforeAll(async () => {
    joined = await TestStack.startJoined([{}, {}]);
    [here, there] = joined.stacks;
  });
  afterAll(async () => {
    await Promise.all([here.stop(), there.stop()]);
    for (const link of joined.links) await link.close();
  });

  const importRaw = async (bytes: Buffer, name: string): Promise<string> => {
    await writeFile(join(here.bucketDirectory, `${name}.raw`), bytes);
    const job = await here.runJob('/v2/cloudimages/action', {
      name,
      image_url: `images:${name}.raw`,
      min_disk: 1,
      os_version: 'Debian GNU/Linux 10.0.0 64bit',
    });
    expect(job).toMatchObject({ status: 'SUCCESS' });
    return job.entities.image_id;
  };

  it('a copy by the official SDK is the same bytes in the other region, and its own image there (REP-03, REP-12)', async () => {
    const bytes = Buffer.concat([noise('sdk', 3 * MIB), Buffer.alloc(5 * MIB)]);
    const image = await importRaw(bytes, 'sdk');
    const { access, secret, projectId } = here.identity;
    const { stdout } = await run(PYTHON, [
      join(__dirname, '../clients/cross_region_copy.py'),
      here.url,
      access,
      secret,
      projectId,
      image,
      'sdk-copy',
      there.region,
    ]);
    const flow = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as CopyFlow;
    expect(flow.refused).toBe('IMG.0147');
    expect(flow.job).toMatchObject({ status: 'SUCCESS', job_type: 'imsCrossRegionCopyImageJob', fail_reason: null });
    expect(flow.percents).toEqual(flow.percents.toSorted((a, b) => a - b));
    const replica = flow.job.entities.image_id;
    expect(replica).not.toBe(image);
    expect(await there.guestSha256(replica)).toBe(createHash('sha256').update(bytes).digest('hex'));
    const list = await there.call('GET', `/v2/cloudimages?id=${replica}`);
    expect(list.json).toMatchObject({
      images: [
        {
          name: 'sdk-copy',
          status: 'active',
          __data_origin: `image,${here.region},${image}`,
          __description: 'dr copy',
        },
      ],
    });
    expect((await here.call('GET', `/v2/images/${replica}`)).status).toBe(404);
    // Both regions have it in their own log.
    for (const [stack, type] of [
      [here, 'image-replicate.step-completed'],
      [there, 'image-receive.step-completed'],
    ] as const) {
      const rows = await stack.db.selectFrom('event').select('event_id').where('type', '=', type).execute();
      expect(rows).toHaveLength(4);
    }
  });

  it('an image that somebody else shares is copied by whoever has accepted it, for themselves (SHR-10)', async () => {
    const image = await importRaw(noise('shared', 3 * MIB), 'shared');
    // An account is the same in all regions by its name.
    const receiver = await here.anotherAccount('partner');
    const receiverThere = await there.anotherAccount('partner');
    const as = (method: string, path: string, body?: object) => here.call(method, path, body, {}, receiver);
    const target = { region: there.region, project_name: there.region, agency_name: 'ims_copy_agency' };
    const copy = () => as('POST', `/v1/cloudimages/${image}/cross_region_copy`, { name: 'shared-copy', ...target });
    expect((await copy()).status).toBe(404);
    const member = { member: receiver.projectId };
    expect((await here.call('POST', `/v2/images/${image}/members`, member)).status).toBe(200);
    expect((await copy()).json).toMatchObject({ error: { code: 'IMG.0196' } });
    await as('PUT', `/v2/images/${image}/members/${receiver.projectId}`, { status: 'accepted' });
    const { job_id: id } = (await copy()).json as { job_id: string };
    const job = await waitFor(
      async () => {
        const { json } = await as('GET', `/v1/${receiver.projectId}/jobs/${id}`);
        const seen = json as CopyFlow['job'];
        return seen.status === 'SUCCESS' || seen.status === 'FAIL' ? seen : undefined;
      },
      { deadlineMs: 60_000, what: 'the copy of the shared image' },
    );
    expect(job).toMatchObject({ status: 'SUCCESS', fail_reason: null });
    const rowOf = (stack: TestStack, imageId: string) =>
      stack.db
        .selectFrom('image')
        .select(['project_id', 'image_type', 'status', 'content_root'])
        .where('id', '=', imageId)
        .executeTakeFirstOrThrow();
    expect(await rowOf(there, job.entities.image_id)).toEqual({
      ...(await rowOf(here, image)),
      project_id: receiverThere.projectId,
    });
  });

  it('charges what it said of the same calls when they were only tried (BIL-02, BIL-09, BIL-10)', async () => {
    await writeFile(
      join(here.bucketDirectory, 'tried.raw'),
      Buffer.concat([noise('tried', 3 * MIB), Buffer.alloc(5 * MIB)]),
    );
    const run = async (path: string, request: object) => {
      const tried = await here.call('POST', path, request, { 'x-dry-run': 'true' });
      const { cost } = dryRunAnswer.parse(tried.json);
      const { status, entities } = await here.runJob(path, request);
      expect(status).toBe('SUCCESS');
      const charged = [];
      for (const { db } of [here, there]) {
        const of = db.selectFrom('usage_record').select(['meter', 'quantity_bytes']);
        charged.push(...(await of.where('image_id', '=', entities.image_id).where('voided_at', 'is', null).execute()));
      }
      expect(charged.map(({ meter }) => meter)).toEqual(cost?.lines.map(({ meter }) => meter));
      for (const { meter, quantity } of cost?.lines ?? []) {
        const bytes = charged.find((record) => record.meter === meter)?.quantity_bytes ?? 0;
        // The most that it could be; of a file nobody has looked into it is not known.
        if (quantity !== null) expect(bytes).toBeLessThanOrEqual(Number(quantity) * 2 ** 30);
      }
      return entities.image_id;
    };
    const image = await run('/v2/cloudimages/action', {
      name: 'tried',
      image_url: 'images:tried.raw',
      min_disk: 1,
      os_version: 'Debian GNU/Linux 10.0.0 64bit',
    });
    await run(`/v1/cloudimages/${image}/copy`, { name: 'tried-copy' });
    const target = { region: there.region, project_name: there.region, agency_name: 'ims_copy_agency' };
    await run(`/v1/cloudimages/${image}/cross_region_copy`, { name: 'tried-there', ...target });
  });

  it('goes on where the link broke in the middle of an answer, and charges its bytes once (N3, BIL-10)', async () => {
    const bytes = noise('broken', 24 * MIB);
    const image = await importRaw(bytes, 'broken');
    const request = {
      name: 'broken-copy',
      region: there.region,
      project_name: there.region,
      agency_name: 'ims_copy_agency',
    };
    const [, back] = joined.links;
    const before = back.passed;
    back.cutAfter(10 * MIB);
    const accepted = await here.call('POST', `/v1/cloudimages/${image}/cross_region_copy`, request);
    expect(accepted.status).toBe(200);
    const { job_id: id } = accepted.json as { job_id: string };
    await waitFor(() => back.isCut, { deadlineMs: 60_000, what: 'the link breaks', everyMs: 20 });
    // What is said over the other line goes on, and tells of no end.
    const half = await here.call('GET', `/v1/cloudimages/job/${id}`);
    expect(half.json).toMatchObject({ status: 'RUNNING' });
    back.mend();
    const job = await waitFor(
      async () => {
        const row = await here.db.selectFrom('job').selectAll().where('id', '=', id).executeTakeFirst();
        return row?.outcome === null ? undefined : row;
      },
      { deadlineMs: 110_000, what: `job ${id} ends` },
    );
    expect(job).toMatchObject({ outcome: 'succeeded' });
    expect(await there.guestSha256(job?.image_id ?? '')).toBe(createHash('sha256').update(bytes).digest('hex'));
    const traffic = await here.db
      .selectFrom('usage_record')
      .select('quantity_bytes')
      .where('image_id', '=', job?.image_id ?? '')
      .execute();
    expect(traffic).toHaveLength(1);
    const [{ quantity_bytes: charged } = { quantity_bytes: 0 }] = traffic;
    expect(charged).toBeGreaterThanOrEqual(bytes.length);
    expect(charged).toBeLessThan(bytes.length * 1.01);
    // What passed in vain is nobody's to pay.
    expect(back.passed - before).toBeGreaterThan(charged);
  });
});
