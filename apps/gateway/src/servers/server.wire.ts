import type { BlockDevice, ServerDocument } from '@ims/contract';
import type { Server } from '@ims/neighbours';
import { imageTime } from '../http/wire-time';

// Nova's numbers of power states, which clients compare.
const POWER_STATES: Readonly<Record<string, number>> = { ACTIVE: 1, PAUSED: 3, SHUTOFF: 4, SUSPENDED: 7 };
const VM_STATES: Readonly<Record<string, string>> = { ACTIVE: 'active', SHUTOFF: 'stopped', BUILD: 'building' };

/** A server as its service shows it (backends E4, E6): numbers of flavour and boot order are texts. Networks are not made here, so none is shown. */
export function toServerDocument(server: Server): ServerDocument {
  const { flavor, volumes, kind } = server;
  const root = volumes.find(({ bootIndex }) => bootIndex === 0);
  return {
    id: server.id,
    name: server.name,
    status: server.status,
    tenant_id: server.projectId,
    created: imageTime(server.createdAt),
    updated: imageTime(server.createdAt),
    flavor: {
      id: flavor.id,
      name: flavor.id,
      vcpus: String(flavor.vcpus),
      ram: String(flavor.ramMib),
      disk: '0',
    },
    image: { id: server.imageId ?? '' },
    metadata: server.metadata,
    addresses: {},
    tags: server.tags,
    sys_tags: [{ key: '_sys_enterprise_project_id', value: '0' }],
    'os-extended-volumes:volumes_attached': volumes.map((volume) => ({
      id: volume.volumeId,
      device: volume.device,
      bootIndex: volume.bootIndex === null ? null : String(volume.bootIndex),
      delete_on_termination: String(volume.deleteOnTermination),
    })),
    'OS-EXT-STS:task_state': server.taskState,
    'OS-EXT-STS:vm_state': VM_STATES[server.status] ?? server.status.toLowerCase(),
    'OS-EXT-STS:power_state': POWER_STATES[server.status] ?? 0,
    'OS-EXT-AZ:availability_zone': server.availabilityZone,
    'OS-EXT-SRV-ATTR:root_device_name': root?.device ?? (kind === 'bms' ? '/dev/sda' : '/dev/vda'),
  };
}

// A virtual machine takes 24 disks by virtio-blk and 59 by virtio-scsi, 60 in all (backends E4).
const MOST_BLK = 24;
const MOST_DISKS = 60;

export const attachableTo = (server: Server) => {
  const used = server.volumes.length;
  return {
    free_blk: Math.max(0, MOST_BLK - used),
    free_scsi: Math.max(0, MOST_DISKS - 1 - used),
    free_disk: MOST_DISKS - used,
  };
};

export const toBlockDevices = (server: Server): BlockDevice[] =>
  server.volumes.map((volume) => ({
    id: volume.volumeId,
    volumeId: volume.volumeId,
    serverId: server.id,
    device: volume.device,
    size: volume.sizeGib,
    bootIndex: volume.bootIndex,
    pciAddress: '',
  }));
