import { EVENTS, imageId, ImsError, projectId } from '@ims/contract';
import type { WaitingImage } from './image-upload.decider';
import { decideBeginUpload, decideEndUpload } from './upload-session.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const IMAGE: WaitingImage = {
  id: imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c'),
  projectId: PROJECT,
  name: 'db',
  status: 'queued',
  diskFormat: 'qcow2',
  minDiskGib: 0,
  attributes: {},
  isBeingMade: false,
};
const begin = (image: WaitingImage | undefined, by = PROJECT) =>
  decideBeginUpload(image, { projectId: by, uploadId: 'upload-1' });

function refusalOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof ImsError) return `${error.code} ${error.status}`;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe(decideBeginUpload.name, () => {
  it('tells that the bytes of a waiting image are on their way', () => {
    const { events } = begin(IMAGE);
    expect(events).toEqual([
      {
        type: 'image.uploading',
        stream: `image:${IMAGE.id}`,
        key: 'uploading:upload-1',
        data: { uploadId: 'upload-1' },
      },
    ]);
    for (const { type, data } of events) EVENTS[type].parse(data);
  });

  it.each([
    ['is not there', undefined, 'IMG.0144 404'],
    ['has an upload already', { ...IMAGE, status: 'uploading' }, 'IMG.0046 409'],
    ['has its bytes', { ...IMAGE, status: 'active' }, 'IMG.0046 409'],
    ['is about to get them from a job', { ...IMAGE, isBeingMade: true }, 'IMG.0046 409'],
  ])('is refused when the image %s', (_what, image, refusal) => {
    expect(refusalOf(() => begin(image))).toBe(refusal);
  });

  it('tells a stranger no more than that there is no such image', () => {
    const stranger = projectId('f'.repeat(32));
    expect(refusalOf(() => begin(IMAGE, stranger))).toBe('IMG.0144 404');
  });
});

describe(decideEndUpload.name, () => {
  const end = (image: { id: WaitingImage['id']; status: string } | undefined) =>
    decideEndUpload(image, { uploadId: 'upload-1', reason: 'given up' }).events;

  it('lets the image wait for another', () => {
    expect(end({ id: IMAGE.id, status: 'uploading' })).toEqual([
      {
        type: 'image.requeued',
        stream: `image:${IMAGE.id}`,
        key: 'requeued:upload-1',
        data: { reason: 'given up' },
      },
    ]);
  });

  it.each(['queued', 'saving', 'active', 'deleted'])('changes nothing of an image that is %s', (status) => {
    expect(end({ id: IMAGE.id, status })).toEqual([]);
  });

  it('changes nothing where the image is gone', () => expect(end(undefined)).toEqual([]));
});
