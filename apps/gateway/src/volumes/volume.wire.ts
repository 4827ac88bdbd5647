import type { VolumeDocument } from '@ims/contract';
import type { Volume } from '@ims/neighbours';
import { imageTime } from '../http/wire-time';

/** A disk as its service shows it (backends E5): truths of it are texts where the vendor has texts. */
export function toVolumeDocument(volume: Volume): VolumeDocument {
  const { origin } = volume;
  return {
    id: volume.id,
    name: volume.name,
    status: volume.status,
    size: volume.sizeGib,
    description: '',
    availability_zone: volume.availabilityZone,
    volume_type: volume.volumeType,
    bootable: String(volume.bootable),
    encrypted: volume.encrypted,
    multiattach: volume.shareable,
    shareable: String(volume.shareable),
    snapshot_id: origin.from === 'snapshot' ? origin.snapshotId : null,
    attachments: volume.attachments.map(({ serverId, device }) => ({
      id: volume.id,
      attachment_id: `${volume.id}:${serverId}`,
      server_id: serverId,
      volume_id: volume.id,
      device,
    })),
    metadata: volume.keyId === null ? {} : { __system__encrypted: '1', __system__cmkid: volume.keyId },
    volume_image_metadata: origin.from === 'image' ? { id: origin.image.imageId } : {},
    'os-vol-tenant-attr:tenant_id': volume.projectId,
    created_at: imageTime(volume.createdAt),
    updated_at: imageTime(volume.createdAt),
    service_type: 'EVS',
  };
}
