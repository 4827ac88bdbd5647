import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { publishImage } from '../testing/published-image';
import { VolumesService } from './volumes.service';

let gateway: GatewayUnderTest;
let token: string;
let project: string;
let dataImage: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  project = gateway.identity.projectId;
  dataImage = (await publishImage(gateway, token, Buffer.alloc(2 ** 20, 7))).id;
  await gateway.database.db
    .updateTable('image')
    .set({ attributes: sql`attributes || '{"virtual_env_type":"DataImage"}'` })
    .where('id', '=', dataImage)
    .execute();
});
afterAll(() => gateway.close());

const call = (method: 'GET' | 'POST' | 'DELETE', path: string, payload?: object, as = token, from = project) =>
  gateway.app.inject({
    method,
    url: path.replace('{p}', from),
    headers: { 'x-auth-token': as, 'content-type': 'application/json' },
    ...(payload === undefined ? {} : { payload }),
  });
const refusal = async (answer: ReturnType<typeof call>): Promise<[number, string]> => {
  const { statusCode, json } = await answer;
  return [statusCode, json<{ error: { code: string } }>().error.code];
};

const aVolume = (from = project) =>
  gateway.cloud.volumes.create({
    id: randomUUID(),
    projectId: from,
    name: 'data',
    sizeGib: 10,
    origin: { from: 'blank' },
  });

describe(VolumesService.name, () => {
  it.each(['v2', 'v2.1'])('%s: a data disk image makes one disk, not two (CRE-07, IMG-10)', async (version) => {
    const volume = { imageRef: dataImage, size: 10 };
    const one = await call('POST', `/${version}/{p}/cloudvolumes`, {
      volume: { ...volume, count: 1, metadata: { create_for_volume_id: 'true' } },
    });
    expect([one.statusCode, one.json()]).toEqual([
      200,
      { job_id: expect.any(String), volume_ids: [expect.any(String)] },
    ]);
    const two = call('POST', `/${version}/{p}/cloudvolumes`, { volume: { ...volume, count: 2 } });
    expect(await refusal(two)).toEqual([400, 'EVS.1009']);
  });

  it('refuses more metadata than the log of a job can hold (backends E5)', async () => {
    const metadata = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [String(n), 'x'.repeat(200)]));
    const answer = call('POST', '/v2/{p}/cloudvolumes', { volume: { size: 10, metadata } });
    expect(await refusal(answer)).toEqual([400, 'EVS.1009']);
  });

  it('names no ids unless asked, and shows the job (backends E5)', async () => {
    const made = await call('POST', '/v2/{p}/cloudvolumes', { volume: { size: 10, name: 'blank' } });
    expect(made.json()).toEqual({ job_id: expect.any(String) });
    const { job_id: jobId } = made.json<{ job_id: string }>();
    expect((await call('GET', `/v1/{p}/jobs/${jobId}`)).json()).toMatchObject({
      job_type: 'createVolume',
      status: 'INIT',
    });
  });

  it('shows a disk with texts where the vendor has texts (backends E5)', async () => {
    const { id } = await aVolume();
    expect((await call('GET', `/v2/{p}/cloudvolumes/${id}`)).json()).toMatchObject({
      volume: {
        id,
        status: 'available',
        size: 10,
        bootable: 'false',
        encrypted: false,
        attachments: [],
        service_type: 'EVS',
      },
    });
  });

  it('accepts the deletion of a disk, not of an attached one', async () => {
    const { id } = await aVolume();
    expect((await call('DELETE', `/v2/{p}/cloudvolumes/${id}`)).json()).toEqual({ job_id: expect.any(String) });
    const server = await gateway.cloud.servers.create({
      id: randomUUID(),
      projectId: project,
      name: 'web',
      kind: 'ecs',
      flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
      availabilityZone: 'az1',
      volumes: [{ id, bootIndex: null }],
      initialStatus: 'SHUTOFF',
    });
    expect(server.volumes).toHaveLength(1);
    expect(await refusal(call('DELETE', `/v2/{p}/cloudvolumes/${id}`))).toEqual([400, 'EVS.2024']);
  });

  it('does not know disks, images and snapshots of another project', async () => {
    const other = await gateway.anotherAccount();
    const { id } = await aVolume(other.projectId);
    expect(await refusal(call('GET', `/v2/{p}/cloudvolumes/${id}`))).toEqual([404, 'EVS.1002']);
    expect(await refusal(call('DELETE', `/v2/{p}/cloudvolumes/${id}`))).toEqual([404, 'EVS.1002']);
    const from = (volume: object) =>
      refusal(call('POST', '/v2/{p}/cloudvolumes', { volume: { size: 40, ...volume } }, other.token, other.projectId));
    expect(await from({ imageRef: dataImage })).toEqual([400, 'EVS.1009']);
    expect(await from({ snapshot_id: 'ims-unknown' })).toEqual([400, 'EVS.1009']);
    expect(await from({ size: 9 })).toEqual([400, 'EVS.1010']);
  });
});
