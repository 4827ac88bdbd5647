import { randomUUID } from 'node:crypto';
import { openDisk } from '@ims/image-format';
import type { NeighbourRefusal } from '../neighbour.errors';
import type { Flavor, NewServer, Server } from '../servers.port';
import type { ImagingDisk, NewVolume, Volume } from '../volumes.port';
import type { NeighboursUnderTest } from './neighbours-under-test';

export const PROJECT = '0123456789abcdef0123456789abcdef';

export const x86Flavor: Flavor = { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' };

/** Fails unless `work` is refused with this reason. */
export async function expectRefusal(work: Promise<unknown>, refusal: NeighbourRefusal): Promise<void> {
  await expect(work).rejects.toMatchObject({ name: 'NeighbourError', refusal });
}

export function aVolume(cloud: NeighboursUnderTest, request: Partial<NewVolume> = {}): Promise<Volume> {
  return cloud.volumes.create({
    id: randomUUID(),
    projectId: PROJECT,
    sizeGib: 10,
    origin: { from: 'blank' },
    ...request,
  });
}

/** A stopped server with a system disk of 1 GiB and a data disk of 10 GiB. */
export async function aServer(cloud: NeighboursUnderTest, request: Partial<NewServer> = {}): Promise<Server> {
  const volumes: NewServer['volumes'] = [
    {
      id: randomUUID(),
      create: { sizeGib: 1, use: 'system', origin: { from: 'blank' } },
      bootIndex: 0,
      deleteOnTermination: true,
    },
    { id: randomUUID(), create: { sizeGib: 10, origin: { from: 'blank' } }, bootIndex: null },
  ];
  return cloud.servers.create({
    id: randomUUID(),
    projectId: PROJECT,
    name: 'web-01',
    kind: 'ecs',
    flavor: x86Flavor,
    availabilityZone: 'az1',
    volumes,
    initialStatus: 'SHUTOFF',
    ...request,
  });
}

export async function readImaging(imaging: ImagingDisk, offset: number, length: number): Promise<Buffer> {
  const reader = await openDisk(imaging.disk);
  try {
    const bytes = Buffer.alloc(length);
    await reader.read(offset, bytes);
    return bytes;
  } finally {
    await reader.close();
  }
}

export async function extentsOf(imaging: ImagingDisk): Promise<{ offset: number; length: number }[]> {
  const reader = await openDisk(imaging.disk);
  try {
    const extents = [];
    for await (const extent of reader.extents()) extents.push(extent);
    return extents;
  } finally {
    await reader.close();
  }
}

export function diskOf(server: Server, bootIndex: number | null): string {
  const found = server.volumes.find((volume) => volume.bootIndex === bootIndex);
  if (found === undefined) throw new Error(`server ${server.id} has no such disk`);
  return found.volumeId;
}
