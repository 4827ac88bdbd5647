import { EVENTS, imageCreateInput, imageId, jobId, projectId } from '@ims/contract';
import { decideUpload, type UploadedFrom, type WaitingImage } from './image-upload.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const JOB = jobId('ff8080828f9a1c33018fa0b7d2c41e55');
const IMAGE: WaitingImage = {
  id: imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c'),
  projectId: PROJECT,
  name: 'db',
  status: 'queued',
  diskFormat: 'qcow2',
  minDiskGib: 0,
  attributes: { __os_version: 'Other Linux(64 bit)' },
  isBeingMade: false,
};
const UNTOUCHED = { limit: null, used: 0, reserved: 0 };
const SENT: UploadedFrom = {
  by: 'upload',
  stagedId: 'put-1',
  sizeBytes: 77,
  digests: { md5: 'a', sha256: 'b', sha512: 'c' },
};
const REGISTERED: UploadedFrom = { by: 'registration', imageUrl: 'images:db.qcow2' };

const decide = (
  image: WaitingImage | undefined,
  from: UploadedFrom = SENT,
  createTaskQuota = UNTOUCHED,
  by = PROJECT,
) => decideUpload({ image, createTaskQuota }, { projectId: by, jobId: JOB, from });

describe(decideUpload.name, () => {
  it('accepts the job that keeps what was sent, and takes no place in the quota of images twice', () => {
    const { events, input } = decide(IMAGE);
    expect(events.map(({ type, stream }) => [type, stream])).toEqual([
      ['job.accepted', `job:${JOB}`],
      ['quota.reserved', `quota:${PROJECT}:create_task`],
    ]);
    for (const event of events) EVENTS[event.type].parse(event.data);
    expect(events[0]?.data).toMatchObject({
      saga: 'image-create',
      imageId: IMAGE.id,
      steps: ['inspect', 'ingest', 'verify', 'publish', 'meter'],
      request: { size: 77, md5: 'a' },
    });
    expect(imageCreateInput.parse(input)).toEqual(input);
    expect(input).toMatchObject({
      existing: true,
      diskFormat: 'qcow2',
      source: { kind: 'staged-file', stagedId: 'put-1' },
      architecture: 'x86',
    });
    expect(input).not.toHaveProperty('osVersion');
  });

  it('imports a registered file as a disk, an ISO as the file it is (ims-api 6.6, CRE-11)', () => {
    const { events, input } = decide(IMAGE, REGISTERED);
    expect(events[0]?.data).toMatchObject({
      jobType: 'imsNativeImportImageJob',
      request: { image_id: IMAGE.id, image_url: 'images:db.qcow2' },
    });
    expect(input.source).toEqual({ kind: 'bucket-file', file: { bucket: 'images', key: 'db.qcow2' } });
    expect(decide({ ...IMAGE, diskFormat: 'iso' }, REGISTERED).input.source.kind).toBe('iso-file');
  });

  it('fetches a file of the web first, whose secrets the log never sees', () => {
    const { events, input } = decide(IMAGE, { by: 'web', uri: 'https://files.example.test/a.qcow2?signature=secret' });
    expect(events[0]?.data).toMatchObject({
      steps: ['fetch', 'inspect', 'ingest', 'verify', 'publish', 'meter'],
      request: { method: 'web-download', uri: 'https://files.example.test/a.qcow2?***' },
    });
    expect(JSON.stringify(events)).not.toContain('secret');
    expect(input.source).toEqual({
      kind: 'web-file',
      uri: 'https://files.example.test/a.qcow2?signature=secret',
      stagedId: `web-${JOB}`,
    });
    expect(imageCreateInput.parse(input)).toEqual(input);
  });

  it('hands on the system that its maker named', () => {
    const attributes = { __os_version: 'Kylin V10 64bit', __support_arm: 'true' };
    expect(decide({ ...IMAGE, attributes }).input).toMatchObject({
      osVersion: 'Kylin V10 64bit',
      architecture: 'arm',
    });
  });

  it.each<[string, Parameters<typeof decide>, string, number]>([
    ['no image', [undefined], 'IMG.0144', 404],
    ['an image of somebody else', [IMAGE, SENT, UNTOUCHED, projectId('f'.repeat(32))], 'IMG.0144', 404],
    ['an image that has its bytes', [{ ...IMAGE, status: 'active' }], 'IMG.0046', 409],
    ['an image whose bytes arrive in pieces', [{ ...IMAGE, status: 'uploading' }], 'IMG.0046', 409],
    ['an image that has a job', [{ ...IMAGE, isBeingMade: true }], 'IMG.0046', 409],
    ['a registration for such an image', [{ ...IMAGE, isBeingMade: true }, REGISTERED], 'IMG.0046', 400],
    ['a URL that is none', [IMAGE, { by: 'registration', imageUrl: 'db.qcow2' }], 'IMG.0017', 400],
    ['too many tasks (CRE-24)', [IMAGE, SENT, { limit: null, used: 0, reserved: 40 }], 'IMG.0060', 400],
  ])('refuses %s', (_what, call, code, status) => {
    expect(() => decide(...call)).toThrow(expect.objectContaining({ code, status }));
  });
});
