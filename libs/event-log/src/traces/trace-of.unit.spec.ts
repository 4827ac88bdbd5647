import { createHash } from 'node:crypto';
import { EVENTS, type EventType, SYSTEM } from '@ims/contract';
import { ALICE } from '../spec-support/an-import';
import { traceIdOf } from './trace-id';
import { nameWithin, operationOf } from './trace-names';
import { kindOf, type TracedEvent, type TracedJob, traceOf } from './trace-of';

const JOB: TracedJob = {
  id: '8'.repeat(32),
  jobType: 'imsImportImageJob',
  saga: 'image-create',
  imageId: '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c',
  imageName: 'web-base',
  request: { name: 'web-base', image_url: 'b1:web.qcow2', enterprise_project_id: '0' },
  isPart: false,
  beginAt: new Date('2026-11-24T08:00:00.000Z'),
  serverIds: [],
  volumeIds: [],
};

const CALLER = {
  ...ALICE,
  accountId: 'c'.repeat(32),
  accountName: 'acme',
  call: { operation: 'CreateImage', apiVersion: 'v2', status: 200 },
};

const event = (type: EventType, data: unknown, more: Partial<TracedEvent> = {}): TracedEvent => ({
  eventId: '01932f6e-0000-7000-8000-000000000001',
  streamId: `job:${JOB.id}`,
  type,
  occurredAt: new Date('2026-11-24T08:00:01.004Z'),
  sealedAt: new Date('2026-11-24T08:00:01.310Z'),
  actor: SYSTEM,
  projectId: 'f'.repeat(32),
  jobId: JOB.id,
  requestId: null,
  data,
  ...more,
});
const byAlice = { actor: CALLER, requestId: '0b6c' };
const ofImage = { streamId: `image:${JOB.imageId}`, jobId: null };
const traced = (given: TracedEvent, job: TracedJob | undefined = JOB) => traceOf(given, job)?.trace;

describe(traceOf.name, () => {
  it('shows a call as the caller made it (cts-api 8.1, AUD-03)', () => {
    expect(traced(event('job.accepted', {}, byAlice))).toEqual({
      trace_id: traceIdOf('01932f6e-0000-7000-8000-000000000001'),
      trace_name: 'createImage',
      trace_rating: 'normal',
      trace_type: 'ApiCall',
      time: 1795507201004,
      record_time: 1795507201310,
      service_type: 'IMS',
      resource_type: 'ims',
      resource_name: 'web-base',
      resource_id: JOB.imageId,
      source_ip: '192.0.2.7',
      user: {
        id: ALICE.userId,
        name: 'alice',
        user_name: 'alice',
        domain: { id: 'c'.repeat(32), name: 'acme' },
        account_id: 'c'.repeat(32),
        access_key_id: null,
        principal_urn: `iam::${'c'.repeat(32)}:user:alice`,
        principal_id: ALICE.userId,
        principal_is_root_user: 'false',
        type: 'User',
        invoked_by: [],
      },
      request: '{"enterprise_project_id":"0","image_url":"b1:web.qcow2","name":"web-base"}',
      response: `{"job_id":"${JOB.id}"}`,
      code: '200',
      api_version: 'v2',
      message: null,
      request_id: '0b6c',
      location_info: null,
      endpoint: null,
      resource_url: null,
      enterprise_project_id: '0',
      resource_account_id: null,
      read_only: false,
      operation_id: JOB.id,
      project_id: 'f'.repeat(32),
      tracker_name: 'system',
    });
  });

  it('shows the end of a job as a second record, by the service, with its result (cts-api 2.4)', () => {
    const succeeded = traced(event('job.succeeded', { imageId: JOB.imageId }));
    expect(succeeded).toMatchObject({
      trace_name: 'createImage',
      trace_type: 'SystemAction',
      trace_rating: 'normal',
      user: null,
      source_ip: '',
      request: null,
      code: null,
      operation_id: JOB.id,
    });
    expect(JSON.parse(succeeded?.response ?? '')).toEqual({
      status: 'SUCCESS',
      entities: { image_id: JOB.imageId, image_name: 'web-base' },
      job_id: JOB.id,
      job_type: 'imsImportImageJob',
      begin_time: '2026-11-24T08:00:00.000Z',
      end_time: '2026-11-24T08:00:01.004Z',
      error_code: null,
      fail_reason: null,
    });
    const failed = traced(event('job.failed', { errorCode: 'IMG.0057', reason: 'hostile file', step: 'ingest' }));
    expect(failed?.trace_rating).toBe('warning');
    expect(JSON.parse(failed?.response ?? '')).toMatchObject({
      status: 'FAIL',
      error_code: 'IMG.0057',
      fail_reason: 'hostile file',
      entities: {},
    });
    expect(traced(event('job.cancelled', { reason: 'not needed' }))?.trace_rating).toBe('warning');
    const left = traced(event('job.cancelled', { reason: 'not needed', leftBehind: ['ingest'] }));
    expect(left?.trace_rating).toBe('incident');
    expect(JSON.parse(left?.response ?? '')).toMatchObject({ status: 'FAIL', left_behind: ['ingest'] });
  });

  it.each([
    ['image-create.step-completed', { step: 'ingest' }, 'createImage.ingest'],
    ['image-create.step-undone', { step: 'ingest' }, 'createImage.undo-ingest'],
  ] as const)('shows %s as a step of its operation (cts-api 8.1)', (type, data, name) => {
    const made = traceOf(event(type, data), JOB);
    expect(made).toMatchObject({ isStep: true, trace: { trace_name: name, trace_type: 'SystemAction', user: null } });
  });

  it('shows a call that was refused as the operation it would have been, with its code (cts-api 7)', () => {
    const data = { errorCode: 'IMG.0026', reason: 'no permission', resourceId: JOB.imageId, unrecorded: 0 };
    const called = (operation: string) => ({
      ...byAlice,
      actor: { ...ALICE, call: { operation, apiVersion: 'v2', status: 403 } },
    });
    expect(traced(event('call.refused', data, called('GlanceDeleteImage')))).toMatchObject({
      trace_name: 'deleteImage',
      trace_rating: 'warning',
      trace_type: 'ApiCall',
      resource_type: 'image',
      resource_id: JOB.imageId,
      code: '403',
      response: '{"error_code":"IMG.0026","error_msg":"no permission"}',
      operation_id: null,
    });
    expect(traced(event('call.refused', data, called('ListImages')))).toBeUndefined();
  });

  it('names what a job made, once its steps have told (cts-api 8.1)', () => {
    const servers = { ...JOB, jobType: 'createServer', saga: 'server-create', imageId: null, imageName: 'web' };
    expect(traced(event('job.accepted', {}, byAlice), servers)).toMatchObject({
      trace_name: 'createServer',
      service_type: 'ECS',
      resource_type: 'ecs',
      resource_id: null,
      resource_name: 'web',
    });
    const one = traced(event('job.succeeded', { imageId: null }), { ...servers, serverIds: ['s1'] });
    expect(one?.resource_id).toBe('s1');
    expect(JSON.parse(one?.response ?? '')).toMatchObject({ entities: { server_id: 's1' } });
    const two = traced(event('job.succeeded', { imageId: null }), { ...servers, serverIds: ['s1', 's2'] });
    expect(JSON.parse(two?.response ?? '')).toMatchObject({ entities: { server_ids: ['s1', 's2'] } });
  });

  it('shows what befell a job in the engine as an incident (cts-api 8.1)', () => {
    expect(traced(event('job.restarted', { epoch: 2, reason: 'ended from outside' }))).toMatchObject({
      trace_name: 'createImage.external-change',
      trace_rating: 'incident',
    });
  });

  it('shows one call once: parts of a job have no call of their own, and are cancelled along without one (AUD-03)', () => {
    const part = { ...JOB, isPart: true };
    expect(traced(event('job.accepted', {}, byAlice), part)).toBeUndefined();
    expect(traced(event('job.succeeded', { imageId: JOB.imageId }), part)?.trace_name).toBe('createImage');
    expect(traced(event('job.cancel-requested', {}, byAlice))?.trace_name).toBe('createImage.cancel');
    expect(traced(event('job.paused', {}, byAlice))?.trace_name).toBe('createImage.pause');
    expect(traced(event('job.resumed', {}, byAlice))?.trace_name).toBe('createImage.resume');
    expect(traced(event('job.cancel-requested', {}, { ...byAlice, jobId: '9'.repeat(32) }))).toBeUndefined();
    expect(traced(event('job.cancel-requested', {}))).toBeUndefined();
  });

  it.each([
    ['image.queued', 'createImage'],
    ['image.uploading', 'updateImage'],
    ['image.requeued', 'updateImage'],
    ['image.deleted', 'deleteImage'],
  ] as const)('shows %s of no job as a call of its own, and within a job not at all (cts-api 7)', (type, name) => {
    const alone = event(type, { name: 'web' }, { ...byAlice, ...ofImage });
    expect(traced(alone, undefined)).toMatchObject({
      trace_name: name,
      resource_type: 'image',
      resource_id: JOB.imageId,
      trace_type: 'ApiCall',
      operation_id: null,
    });
    expect(traced({ ...alone, jobId: JOB.id })).toBeUndefined();
  });

  it('decides on every type of event: one trace or none (cts-api 8.1)', () => {
    const types = Object.keys(EVENTS);
    const listed = types.filter((type) => kindOf(type) !== 'none');
    const silent = types.filter((type) => kindOf(type) === 'none');
    expect(silent).toEqual(
      expect.arrayContaining([
        'job.started',
        'image.saving',
        'image.published',
        'image.withdrawn',
        'quota.reserved',
        'usage.opened',
      ]),
    );
    expect(silent.every((type) => /^(?:job|image|quota|usage)\./.test(type))).toBe(true);
    expect(listed.filter((type) => /\.step-(?:completed|undone)$/.test(type)).length).toBeGreaterThan(10);
    // What every saga begins and ends with is among them.
    expect(listed).toEqual(expect.arrayContaining(['job.accepted', 'job.succeeded', 'job.failed', 'job.cancelled']));
  });
});

describe('names of traces', () => {
  it.each(['image-create', 'image-delete', 'server-create', 'a-saga-of-tomorrow'])('of %s fit the grammar', (saga) => {
    const operation = operationOf({ saga, jobType: '' });
    for (const name of [
      operation.name,
      nameWithin(operation, 'undo-release-snapshot'),
      nameWithin(operation, 'x'.repeat(99)),
    ])
      expect(name).toMatch(/^[a-zA-Z][0-9a-zA-Z._-]{0,63}$/);
  });

  it.each([
    ['imsGoofysUploadImageJob', 'updateImage', 'image'],
    ['imsNativeImportImageJob', 'createImage', 'ims'],
    ['imsCreateWholeImageByBackupJob', 'createImage', 'ims'],
  ])('of %s are the vendor’s (cts-api 7)', (jobType, name, resourceType) => {
    expect(operationOf({ saga: 'image-create', jobType })).toEqual({ name, serviceType: 'IMS', resourceType });
  });
});

describe(traceIdOf.name, () => {
  it('is a UUID of version 5, the same for the same event and another for another', () => {
    const id = traceIdOf('01932f6e-0000-7000-8000-000000000001');
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(traceIdOf('01932f6e-0000-7000-8000-000000000001')).toBe(id);
    expect(traceIdOf('01932f6e-0000-7000-8000-000000000002')).not.toBe(id);
    // RFC 9562 5.5: SHA-1 over the namespace and the name, except for version and variant.
    const digest = createHash('sha1')
      .update(Buffer.from('5b0f4a1e6c3d4f7b9a52d1c7e84f6b23', 'hex'))
      .update('01932f6e-0000-7000-8000-000000000001')
      .digest('hex');
    expect(id.slice(0, 13)).toBe(`${digest.slice(0, 8)}-${digest.slice(8, 12)}`);
  });
});
