import { randomBytes, randomUUID } from 'node:crypto';
import {
  dryRunAnswer,
  imageId,
  imageStream,
  jobId,
  jobStream,
  projectId as toProject,
  quotaStream,
  receiveState,
  SYSTEM,
  TERMINAL_KEY,
} from '@ims/contract';
import { inTransaction, systemClock } from '@ims/db';
import { freePort } from '@ims/embedded';
import { appendEvents } from '@ims/event-log';
import { createPeers, signPeerRequest } from '@ims/peer';
import { noise } from '@ims/testing';
import { gatewayUnderTest, type GatewayUnderTest, REGION } from '../testing/gateway-under-test';
import { publishImage, type PublishedImage } from '../testing/published-image';
import { ReplicationsController } from './replications.controller';

const OTHER = 'region-2';
const SECRET = randomBytes(32).toString('hex');

describe(ReplicationsController.name, () => {
  let here: GatewayUnderTest;
  let there: GatewayUnderTest;
  let token: string;
  let image: PublishedImage;
  let url: string;

  beforeAll(async () => {
    const [mine, theirs] = [await freePort(), await freePort()];
    url = `http://127.0.0.1:${theirs}`;
    const peer = (port: number) => ({ url: `http://127.0.0.1:${port}`, secret: SECRET });
    here = await gatewayUnderTest(
      {},
      {
        IMS_PEERS: JSON.stringify({
          [OTHER]: peer(theirs),
          'region-3': { ...peer(theirs), url: 'http://127.0.0.1:1' },
        }),
        IMS_AGENCIES: JSON.stringify({ ims_copy_agency: ['*'], weak: ['region-9'] }),
      },
    );
    there = await gatewayUnderTest({}, { IMS_REGION: OTHER, IMS_PEERS: JSON.stringify({ [REGION]: peer(mine) }) });
    await here.app.listen({ host: '127.0.0.1', port: mine });
    await there.app.listen({ host: '127.0.0.1', port: theirs });
    token = await here.tokenOf('acme', 'alice');
    image = await publishImage(here, token, noise('image', 2 ** 20));
  });
  afterAll(async () => {
    await here.close();
    await there.close();
  });

  const copy = (payload: object = {}, id: string = image.id, as: string = token, more: Record<string, string> = {}) =>
    here.app.inject({
      method: 'POST',
      url: `/v1/cloudimages/${id}/cross_region_copy`,
      headers: { ...(as === '' ? {} : { 'x-auth-token': as }), 'content-type': 'application/json', ...more },
      payload: { name: 'dr-copy', region: OTHER, project_name: OTHER, agency_name: 'ims_copy_agency', ...payload },
    });
  const codeOf = (answer: { json(): unknown }) => (answer.json() as { error?: { code: string } }).error?.code;
  const endAll = async () => {
    const open = await here.parts.db.selectFrom('job').selectAll().where('outcome', 'is', null).execute();
    await inTransaction(here.parts.db, async (trx) => {
      for (const { id, project_id: projectId } of open)
        await appendEvents(trx, { projectId, actor: SYSTEM, jobId: id }, [
          { stream: jobStream(jobId(id)), key: TERMINAL_KEY, type: 'job.cancelled', data: { reason: 'by the test' } },
        ]);
    });
  };
  afterEach(endAll);

  it('accepts a copy, which is polled here and named by the image there (REP-03)', async () => {
    const answer = await copy();
    expect(answer.statusCode).toBe(200);
    const { job_id: id } = answer.json<{ job_id: string }>();
    const job = await here.app.inject({ url: `/v1/cloudimages/job/${id}`, headers: { 'x-auth-token': token } });
    expect(job.json()).toMatchObject({
      status: 'INIT',
      job_type: 'imsCrossRegionCopyImageJob',
      entities: { image_name: 'dr-copy', image_id: expect.not.stringMatching(image.id) },
    });
    const row = await here.parts.db.selectFrom('outbox').selectAll().where('workflow_id', '=', id).executeTakeFirst();
    expect(row).toMatchObject({ workflow_type: 'imageReplicate', input: { sourceImageId: image.id } });
  });

  it.each([
    ['IMG.0142', 'the region that it is in (REP-12)', { region: REGION }],
    ['IMG.0147', 'a region that is not known (REP-12, REG-04)', { region: 'atlantis' }],
    ['IMG.0145', 'a project that is not there', { project_name: 'nowhere' }],
    ['IMG.0179', 'no such agency (REP-03)', { agency_name: 'nobody' }],
    ['IMG.0151', 'an agency for other regions (REP-03)', { agency_name: 'weak' }],
    ['IMG.0013', 'no name', { name: undefined }],
    ['IMG.0003', 'a name of other characters', { name: 'a/b' }],
    ['IMG.0155', 'a wrong enterprise project', { enterprise_project_id: 'x' }],
  ])('refuses with %s: %s', async (code, _, payload) => {
    const answer = await copy(payload);
    expect([answer.statusCode, codeOf(answer)]).toEqual([400, code]);
  });

  it('tells of a copy that is only tried its traffic, and what its image will cost there (BIL-08, BIL-10)', async () => {
    const product = await queued({ __productcode: 'db-1' }, 'active');
    const { cost } = dryRunAnswer.parse((await copy({}, product, token, { 'x-dry-run': 'true' })).json());
    expect(cost?.lines.map(({ meter, per }) => [meter, per])).toEqual([
      ['replication.traffic', 'once'],
      ['image.storage', 'hour'],
      ['market.image', 'hour'],
    ]);
  });

  it('accepts a copy to a region that does not answer: its job asks for as long as that takes (N1)', async () => {
    expect((await copy({ region: 'region-3' })).statusCode).toBe(200);
  });

  it.each([
    ['IMG.0143', 'encrypted (REP-10)', { __system__cmkid: randomUUID() }],
    ['IMG.0167', 'an ISO image', { virtual_env_type: 'IsoImage' }],
    ['IMG.0189', 'of a whole server without a vault (REP-11)', { __whole_image: 'true' }],
  ])('refuses with %s an image that is %s', async (code, _, attributes) => {
    const id = await queued(attributes, 'active');
    expect(codeOf(await copy({}, id))).toBe(code);
  });

  it('refuses an image that is not active with IMG.0046 (REP-07), and one of 129 GB with IMG.0146 (REP-04)', async () => {
    expect(codeOf(await copy({}, await queued({}, 'queued')))).toBe('IMG.0046');
    const large = await queued({}, 'active', 129);
    expect(codeOf(await copy({}, large))).toBe('IMG.0146');
    // The same as a file that is hardly anything but holes.
    const { db } = here.parts;
    await db
      .updateTable('image')
      .set({ form: 'file', file_bytes: 2 ** 20 })
      .where('id', '=', large)
      .execute();
    expect(codeOf(await copy({}, large))).toBe('IMG.0146');
  });

  it('starts exactly five of twenty copies that race (REP-06), and one at a time of an image (REP-09)', async () => {
    const images: string[] = [];
    for (let n = 0; n < 20; n += 1) images.push(await queued({}, 'active'));
    const answers = await Promise.all(images.map((id) => copy({}, id)));
    expect(answers.filter(({ statusCode }) => statusCode === 200)).toHaveLength(5);
    const refused = answers.filter(({ statusCode }) => statusCode !== 200);
    expect(new Set(refused.map(codeOf))).toEqual(new Set(['IMG.0149']));
    await endAll();
    const same = await Promise.all([copy(), copy(), copy()]);
    expect(same.map(({ statusCode }) => statusCode).toSorted()).toEqual([200, 400, 400]);
  });

  it('demands ims:images:copy, and knows no image of others', async () => {
    expect((await copy({}, image.id, '')).statusCode).toBe(401);
    const reader = await here.anotherAccount(['ims:images:get']);
    const refused = await copy({}, image.id, reader.token);
    expect([refused.statusCode, codeOf(refused)]).toEqual([403, 'IMG.0026']);
    const other = await here.anotherAccount();
    const unknown = await copy({}, image.id, other.token);
    expect([unknown.statusCode, codeOf(unknown)]).toEqual([404, 'IMG.0144']);
    expect((await copy({}, 'nothing')).statusCode).toBe(404);
  });

  describe('the peer port', () => {
    it('is not there for a gateway without peers, and answers nobody who does not sign', async () => {
      const alone = await gatewayUnderTest();
      expect((await alone.app.inject({ url: '/peer/v1/receives/x' })).statusCode).toBe(404);
      await alone.close();
      for (const headers of [{}, { 'x-ims-peer-from': REGION, 'x-ims-peer-date': systemClock.now().toISOString() }])
        expect((await there.app.inject({ url: '/peer/v1/receives/x', headers })).statusCode).toBe(401);
      expect(
        (await there.app.inject({ url: '/peer/v1/receives/x', headers: { 'x-auth-token': token } })).statusCode,
      ).toBe(401);
    });

    it('takes neither another secret, nor an old request, nor one for another region', async () => {
      const asking = (from: string, region: string, secret: string, at = systemClock.now()) =>
        createPeers(from, new Map([[region, { url, secret }]]), { now: () => at }).to(region);
      const id = randomBytes(16).toString('hex');
      await expect(asking(REGION, OTHER, SECRET).show({ jobId: id, epoch: 1 })).rejects.toMatchObject({
        code: 'IMG.0023',
      });
      const old = new Date(systemClock.now().getTime() - 6 * 60_000);
      for (const peer of [
        asking(REGION, OTHER, SECRET.replace(/^./, 'x')),
        asking('region-7', OTHER, SECRET),
        asking(REGION, 'region-3', SECRET),
        asking(REGION, OTHER, SECRET, old),
      ])
        await expect(peer.show({ jobId: id, epoch: 1 })).rejects.toThrow('out of reach');
    });

    it('gains nothing by a request that was listened to, nor by one that was changed', async () => {
      const job = { jobId: randomBytes(16).toString('hex'), epoch: 1 };
      const date = systemClock.now().toISOString();
      const target = `/peer/v1/receives/${job.jobId}?epoch=1`;
      const signed = { method: 'DELETE', target, from: REGION, to: OTHER, date, body: Buffer.alloc(0) };
      const headers = {
        'x-ims-peer-from': REGION,
        'x-ims-peer-date': date,
        'x-ims-peer-signature': signPeerRequest(signed, SECRET),
      };
      const send = (changed: object = {}) =>
        there.app.inject({ method: 'DELETE', url: target, headers, ...changed } as Parameters<
          typeof there.app.inject
        >[0]);
      expect((await send()).statusCode).toBe(200);
      for (const changed of [
        { url: target.replace('epoch=1', 'epoch=9') },
        { method: 'GET' },
        { payload: 'x', headers: { ...headers, 'content-type': 'application/x-ims-peer' } },
        { headers: { ...headers, 'x-ims-peer-from': OTHER } },
      ])
        expect((await send(changed)).statusCode).toBe(401);
      // The second execution of the job is past what the first one said: said again it does not count.
      const peer = here.parts.peers.to(OTHER);
      await peer.cancel({ ...job, epoch: 2 });
      expect((await send()).statusCode).toBe(409);
      const tooLong = { url: '/peer/v1/receives', method: 'POST', payload: Buffer.alloc(13 * 2 ** 20) };
      expect((await send(tooLong)).statusCode).toBe(413);
    });

    it('shows of this region only what one of its jobs is sending to that one', async () => {
      const answer = await copy();
      const { job_id: id } = answer.json<{ job_id: string }>();
      const peer = there.parts.peers.to(REGION);
      const signal = AbortSignal.timeout(10_000);
      // Accepted, and not holding anything yet.
      await expect(peer.manifest(id, 'content', signal)).rejects.toMatchObject({ code: 'IMG.0023', status: 404 });
      await expect(peer.exchange(id, 'content', Buffer.from('x'), signal)).rejects.toMatchObject({ code: 'IMG.0023' });
      await expect(peer.manifest('nothing', '../../etc/passwd', signal)).rejects.toMatchObject({ code: 'IMG.0023' });
    });

    it('sends nothing while its job is paused, which looks like a line that is down, and goes on when it is resumed', async () => {
      const { job_id: id } = (await copy()).json<{ job_id: string }>();
      const { domainId, manifestHash, virtualSizeBytes } = image.disk;
      const disks = [{ imageId: image.id, part: 'content', domainId, manifestHash, virtualSizeBytes }];
      await inTransaction(here.parts.db, (trx) =>
        appendEvents(trx, { projectId: here.identity.projectId, actor: SYSTEM, jobId: id }, [
          {
            stream: jobStream(jobId(id)),
            key: 'step:check-image',
            type: 'image-replicate.step-completed',
            data: { step: 'check-image', output: { disks } },
          },
        ]),
      );
      const peer = there.parts.peers.to(REGION);
      const manifest = () => peer.manifest(id, 'content', AbortSignal.timeout(10_000));
      const tell = (verb: 'pause' | 'resume') =>
        here.app.inject({
          method: 'POST',
          url: `/v1/${here.identity.projectId}/jobs/${id}/${verb}`,
          headers: { 'x-auth-token': token },
        });
      const sent = await manifest();
      await tell('pause');
      await expect(manifest()).rejects.toMatchObject({ name: 'PeerUnreachableError' });
      await expect(peer.exchange(id, 'content', Buffer.from('x'), AbortSignal.timeout(10_000))).rejects.toMatchObject({
        name: 'PeerUnreachableError',
      });
      await tell('resume');
      expect(await manifest()).toEqual(sent);
    });

    it('refuses an offer that is none, and begins nothing that was called back before (N2)', async () => {
      const peer = here.parts.peers.to(OTHER);
      const id = randomBytes(16).toString('hex');
      const good = offer(id);
      const [content] = good.disks;
      for (const wrong of [
        { agencyName: 'x'.repeat(65) },
        { image: { ...good.image, imageId: 'no id' } },
        { disks: [] },
        { disks: [content, content] },
        { disks: [content, { ...content, part: 'disk' }] },
        { disks: [{ ...content, manifestHash: '../x' }] },
        { epoch: 0 },
      ])
        // What a sender of another release, or none of ours, might say.
        await expect(peer.start({ ...good, ...wrong } as typeof good)).rejects.toMatchObject({ code: 'IMG.0001' });
      expect(receiveState.parse(await peer.cancel({ jobId: id, epoch: 1 }))).toMatchObject({
        outcome: 'cancelled',
        imageId: null,
      });
      await expect(peer.start(offer(id))).rejects.toMatchObject({ code: 'IMG.0105', status: 409 });
    });

    it('begins one job for one offer, however often it comes (C1), within the quota of the project (CRE-23)', async () => {
      const peer = here.parts.peers.to(OTHER);
      const id = randomBytes(16).toString('hex');
      const states = await Promise.all([1, 2, 3, 4].map(() => peer.start(offer(id))));
      expect(new Set(states.map((state) => state.jobId)).size).toBe(1);
      expect(there.handedToEngine.started).toHaveLength(1);
      const { projectId } = there.identity;
      await inTransaction(there.parts.db, (trx) =>
        appendEvents(trx, { projectId, actor: SYSTEM }, [
          {
            type: 'quota.limit-set',
            stream: quotaStream(toProject(projectId), 'image'),
            key: 'limit',
            data: { resource: 'image', limit: 1 },
          },
        ]),
      );
      await expect(peer.start(offer(randomBytes(16).toString('hex')))).rejects.toMatchObject({ code: 'IMG.0015' });
      await expect(peer.check(offer(randomBytes(16).toString('hex')))).rejects.toMatchObject({ code: 'IMG.0015' });
    });
  });

  const offer = (id: string) => ({
    jobId: id,
    epoch: 1,
    accountName: 'acme',
    projectName: OTHER,
    agencyName: 'ims_copy_agency',
    sourceImageId: image.id,
    image: {
      imageId: randomUUID(),
      name: 'offered',
      diskFormat: 'zvhd2',
      minDiskGib: 1,
      minRamMib: 0,
      tags: [],
      attributes: {},
    },
    ancestors: [],
    lineage: { publicPlatform: null, productCode: null },
    disks: [{ part: 'content', manifestHash: image.disk.manifestHash, virtualSizeBytes: 2 ** 20 }],
  });

  /** An image by its events alone: what is asked of it here is decided before its bytes are. */
  async function queued(attributes: Record<string, string>, status: 'queued' | 'active', gib = 1): Promise<string> {
    const id = imageId(randomUUID());
    const { projectId } = here.identity;
    await inTransaction(here.parts.db, async (trx) => {
      const stream = imageStream(id);
      const { disk } = image;
      await appendEvents(trx, { projectId, actor: SYSTEM }, [
        {
          type: 'image.queued',
          stream,
          key: 'queued',
          data: { name: 'x', diskFormat: 'zvhd2', minDiskGib: 1, minRamMib: 0, tags: [], attributes },
        },
        ...(status === 'queued'
          ? []
          : [
              {
                type: 'image.published' as const,
                stream,
                key: 'published',
                data: { ...disk, virtualSizeBytes: gib * 2 ** 30, attributes: {} },
              },
            ]),
      ]);
    });
    return id;
  }
});
