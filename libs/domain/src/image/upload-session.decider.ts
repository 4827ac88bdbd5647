import { type ImageId, imageStream, type ProjectId, uploadBegunKey, uploadEndedKey } from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { checkIsWaiting, type WaitingImage } from './image-upload.decider';

/**
 * Decides on beginning an upload whose bytes come in several requests. Fails like `checkIsWaiting`: only an image that waits for bytes has one.
 */
export function decideBeginUpload(
  image: WaitingImage | undefined,
  { projectId, uploadId }: { projectId: ProjectId; uploadId: string },
): { image: WaitingImage; events: DomainEvent[] } {
  const waiting = checkIsWaiting(image, { projectId, from: 'upload' });
  return {
    image: waiting,
    events: [
      {
        type: 'image.uploading',
        stream: imageStream(waiting.id),
        key: uploadBegunKey(uploadId),
        data: { uploadId },
      },
    ],
  };
}

/** Decides on an upload that comes to nothing: its image waits for another. Nothing happens when it does so already, or has got its bytes. */
export function decideEndUpload(
  image: { id: ImageId; status: string } | undefined,
  { uploadId, reason }: { uploadId: string; reason: string },
): { events: DomainEvent[] } {
  if (image?.status !== 'uploading') return { events: [] };
  return {
    events: [
      { type: 'image.requeued', stream: imageStream(image.id), key: uploadEndedKey(uploadId), data: { reason } },
    ],
  };
}
