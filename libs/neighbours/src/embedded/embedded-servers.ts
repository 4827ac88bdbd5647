import { randomUUID } from 'node:crypto';
import { type Clock, type Database, inTransaction, sqlState } from '@ims/db';
import type { Kysely, Selectable, Transaction } from 'kysely';
import { z } from 'zod';
import { NeighbourError } from '../neighbour.errors';
import type { BootCheckResult } from '../boot-check.port';
import { verdictOf, watchConsole } from '../qemu/console-verdict';
import type { QemuGuests } from '../qemu/qemu-guests';
import { checkId, checkSameRequest } from '../records';
import { checkImageFits } from '../server-rules';
import {
  type NewServer,
  type Server,
  type ServerImage,
  SERVER_STATUSES,
  type ServersPort,
  type ServerStatus,
} from '../servers.port';
import { attachIn, type EmbeddedVolumes } from './embedded-volumes';

type ServerRow = Selectable<Database['cloud.server']>;

export const storedFlavor = z.object({
  id: z.string(),
  vcpus: z.number(),
  ramMib: z.number(),
  architecture: z.enum(['x86', 'arm']),
  series: z.string(),
});
const storedMetadata = z.record(z.string(), z.string());
const storedStatus = z.enum(SERVER_STATUSES);

// Tasks that live as long as a call of this class; those of sagas end with their saga.
const OWN_TASKS = ['powering-on', 'powering-off', 'rebuilding', 'deleting'] as const;
type OwnTask = (typeof OWN_TASKS)[number];

const UNIQUE_VIOLATION = '23505';
// What a guest gets of its flavour's memory at most: the embedded cloud shares one machine with the whole service.
const MAX_GUEST_MEMORY_MIB = 1024;
// Name of the tag by which clients know a bare-metal server (backends E6).
const BAREMETAL_TAG = '__type_baremetal';
// A disk attached under such a name is an installation medium (IMG-11).
const CD_DEVICE = /^\/dev\/sr\d$/;

export interface EmbeddedServersOptions {
  db: Kysely<Database>;
  volumes: EmbeddedVolumes;
  guests: QemuGuests;
  clock: Clock;
  /** Whether `start` boots the disks in QEMU; else a running server is a record. */
  qemu: boolean;
  /** Why not, for whoever asks whether a server has booted. */
  whyNoQemu?: string | undefined;
}

/** Servers as records; where QEMU is asked for, running ones are virtual machines on their real disks. */
export class EmbeddedServers implements ServersPort {
  constructor(private readonly options: EmbeddedServersOptions) {}

  async get(projectId: string, serverId: string): Promise<Server | undefined> {
    const [server] = await this.read(projectId, serverId);
    return server;
  }

  list(projectId: string): Promise<Server[]> {
    return this.read(projectId);
  }

  async create(request: NewServer): Promise<Server> {
    const { id, projectId } = request;
    checkId('server id', id);
    await this.checkNew(request);
    const row = await this.options.db
      .insertInto('cloud.server')
      .values({
        id,
        project_id: projectId,
        name: request.name,
        kind: request.kind,
        status: 'BUILD',
        is_being_reclaimed: request.isBeingReclaimed ?? false,
        boot_from: request.bootFrom ?? 'volume',
        flavor: JSON.stringify(request.flavor),
        image_id: request.image?.imageId ?? null,
        metadata: JSON.stringify(request.metadata ?? {}),
        availability_zone: request.availabilityZone,
        request: JSON.stringify(request),
        created_at: this.options.clock.now(),
      })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .returning('id')
      .executeTakeFirst();
    const present = await this.require(projectId, id);
    // Also a server that an earlier call left half built is finished by repeating the call.
    if (row === undefined && present.status !== 'BUILD') return present;
    for (const volume of request.volumes) {
      if (volume.create === undefined) continue;
      const { availabilityZone } = request;
      await this.options.volumes.create({ ...volume.create, id: volume.id, projectId, availabilityZone });
    }
    await this.finishBuild(request);
    return request.initialStatus === 'SHUTOFF' ? this.require(projectId, id) : this.start(projectId, id);
  }

  async start(projectId: string, serverId: string): Promise<Server> {
    return this.duringTask(projectId, serverId, 'powering-on', async (server) => {
      if (server.status === 'ACTIVE') return;
      if (server.resStatus === 'freeze') throw new NeighbourError('FROZEN', `server ${serverId}`);
      checkStatus(server, ['SHUTOFF', 'ERROR']);
      if (this.isVirtualMachine(server)) {
        try {
          await this.boot(server);
        } catch (error) {
          await this.setStatus(projectId, serverId, 'ERROR');
          throw error;
        }
      }
      await this.setStatus(projectId, serverId, 'ACTIVE');
      // One that ended before it was recorded as running.
      if (this.isVirtualMachine(server) && !this.options.guests.isRunning(serverId))
        await this.setStatus(projectId, serverId, 'SHUTOFF');
    });
  }

  async stop(projectId: string, serverId: string): Promise<Server> {
    return this.duringTask(projectId, serverId, 'powering-off', async (server) => {
      if (server.status === 'SHUTOFF') return;
      checkStatus(server, ['ACTIVE', 'ERROR', 'PAUSED']);
      await this.options.guests.stop(serverId);
      await this.setStatus(projectId, serverId, 'SHUTOFF');
    });
  }

  freeze(projectId: string, serverId: string): Promise<Server> {
    return this.setResStatus(projectId, serverId, 'freeze');
  }

  unfreeze(projectId: string, serverId: string): Promise<Server> {
    return this.setResStatus(projectId, serverId, 'normal');
  }

  async beginTask(request: { projectId: string; serverId: string; task: string; holder: string }): Promise<Server> {
    await inTransaction(this.options.db, (trx) => beginTaskIn(trx, request));
    return this.require(request.projectId, request.serverId);
  }

  async endTask(request: { projectId: string; serverId: string; holder: string }): Promise<void> {
    await endTaskIn(this.options.db, request);
  }

  async changeOs(request: {
    projectId: string;
    serverId: string;
    image: ServerImage;
    rootVolume: { id: string; sizeGib: number; keyId?: string };
  }): Promise<Server> {
    const { projectId, serverId, image, rootVolume } = request;
    const { id: volumeId, sizeGib, keyId } = rootVolume;
    const { imageId, domainId, manifestHash } = image;
    let formerContent: string | undefined;
    const changed = await this.duringTask(projectId, serverId, 'rebuilding', async (server) => {
      const root = server.volumes.find(({ bootIndex }) => bootIndex === 0);
      if (root?.volumeId === volumeId) return;
      if (server.resStatus === 'freeze') throw new NeighbourError('FROZEN', `server ${serverId}`);
      checkStatus(server, ['SHUTOFF']);
      checkImageFits(image, server.flavor, sizeGib);
      await this.options.volumes.create({
        id: volumeId,
        projectId,
        availabilityZone: server.availabilityZone,
        sizeGib,
        origin: { from: 'image', image: { imageId, domainId, manifestHash }, role: 'system' },
        ...(keyId === undefined ? {} : { keyId }),
      });
      await inTransaction(this.options.db, async (trx) => {
        await trx
          .deleteFrom('cloud.volume_attachment')
          .where('server_id', '=', serverId)
          .where('boot_index', '=', 0)
          .execute();
        await attachIn(trx, {
          projectId,
          serverId,
          volumeId,
          device: root?.device,
          bootIndex: 0,
          deleteOnTermination: root?.deleteOnTermination ?? true,
        });
        await trx.updateTable('cloud.server').set({ image_id: imageId }).where('id', '=', serverId).execute();
        if (root !== undefined) formerContent = await this.options.volumes.retireIn(trx, projectId, root.volumeId);
      });
    });
    if (formerContent !== undefined) await this.options.volumes.collect(formerContent);
    return changed;
  }

  async delete(projectId: string, serverId: string): Promise<void> {
    if ((await this.get(projectId, serverId)) === undefined) return;
    const layers: string[] = [];
    const holder = randomUUID();
    await this.beginTask({ projectId, serverId, task: 'deleting', holder });
    try {
      await this.options.guests.stop(serverId);
      await inTransaction(this.options.db, async (trx) => {
        const attachments = await trx
          .deleteFrom('cloud.volume_attachment')
          .where('server_id', '=', serverId)
          .returning(['volume_id', 'delete_on_termination'])
          .execute();
        for (const { volume_id, delete_on_termination } of attachments) {
          // A shareable disk that another server still has stays.
          const layerId = delete_on_termination
            ? await this.options.volumes.retireIn(trx, projectId, volume_id)
            : undefined;
          if (layerId !== undefined) layers.push(layerId);
        }
        await trx.deleteFrom('cloud.vault_server').where('server_id', '=', serverId).execute();
        await trx
          .updateTable('cloud.server')
          .set({ status: 'DELETED', deleted_at: this.options.clock.now() })
          .where('id', '=', serverId)
          .execute();
      });
    } finally {
      await endTaskIn(this.options.db, { projectId, serverId, holder });
    }
    for (const layerId of layers) await this.options.volumes.collect(layerId);
  }

  /** Puts a server into any state: what an operator does, and what makes the refusals of CRE-03 and CRE-17 happen. */
  async setStatus(projectId: string, serverId: string, status: ServerStatus): Promise<Server> {
    await this.options.db
      .updateTable('cloud.server')
      .set({ status })
      .where('id', '=', serverId)
      .where('project_id', '=', projectId)
      .where('deleted_at', 'is', null)
      .execute();
    return this.require(projectId, serverId);
  }

  /** What the serial console of a virtual machine has printed; `undefined` where the server is none or does not run. */
  async console(projectId: string, serverId: string): Promise<string | undefined> {
    await this.require(projectId, serverId);
    return this.options.guests.console(serverId);
  }

  async bootCheck(
    projectId: string,
    serverId: string,
    watch: { expect: RegExp; timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<BootCheckResult> {
    const { guests, whyNoQemu } = this.options;
    const server = await this.require(projectId, serverId);
    if (!this.isVirtualMachine(server)) {
      const evidence = this.options.qemu
        ? `no machine of architecture ${server.flavor.architecture} that boots from a disk of this cloud can run here`
        : (whyNoQemu ?? 'servers are records here: QEMU is switched off');
      return { verdict: 'not-checked', evidence };
    }
    const printed = await watchConsole(
      {
        read: async () => (await guests.console(serverId)) ?? '',
        isRunning: () => guests.isRunning(serverId),
      },
      watch,
    );
    watch.signal?.throwIfAborted();
    return verdictOf(watch.expect, printed);
  }

  /**
   * After the process that ran this cloud has died: what it was doing is no longer being done, and servers recorded as running whose machine is gone
   * are off, as after a power cut. Only for the one process that runs it. Returns how many servers were put right.
   */
  async recover(): Promise<number> {
    const { db, guests } = this.options;
    const idle = await db
      .updateTable('cloud.server')
      .set({ task_state: null, task_holder: null })
      .where('task_state', 'in', [...OWN_TASKS])
      .returning('id')
      .execute();
    const recovered = new Set(idle.map(({ id }) => id));
    const rows = await db
      .selectFrom('cloud.server')
      .select(['id', 'project_id'])
      .where('status', '=', 'ACTIVE')
      .execute();
    for (const { id, project_id } of rows) {
      if (guests.isRunning(id) || !this.isVirtualMachine(await this.require(project_id, id))) continue;
      await this.setStatus(project_id, id, 'SHUTOFF');
      recovered.add(id);
    }
    // Another process had this cloud for a while and took the machines of this one for dead: what is recorded counts.
    const active = new Set(rows.map(({ id }) => id));
    for (const id of guests.serverIds) if (!active.has(id)) await guests.stop(id);
    return recovered.size;
  }

  private isVirtualMachine(server: Server): boolean {
    // The emulator here is one of x86-64; a server of another architecture, or without a disk of ours to boot, runs as a record.
    return (
      this.options.qemu &&
      server.flavor.architecture === 'x86' &&
      server.bootFrom === 'volume' &&
      server.volumes.some(({ bootIndex }) => bootIndex === 0)
    );
  }

  private async boot(server: Server): Promise<void> {
    const exported: { release(): Promise<void> }[] = [];
    const releaseAll = async (): Promise<void> => {
      for (const { release } of exported) await release();
    };
    try {
      const disks = [];
      for (const { volumeId, bootIndex, device } of server.volumes) {
        const served = await this.options.volumes.exportDisk(server.projectId, volumeId, {
          readOnly: CD_DEVICE.test(device),
        });
        exported.push(served);
        const isCd = CD_DEVICE.test(device);
        disks.push({ socketPath: served.socketPath, bootIndex, readOnly: isCd, isCd });
      }
      await this.options.guests.start(
        server.id,
        {
          name: `server ${server.id}`,
          firmware: server.metadata.hw_firmware_type === 'uefi' ? 'uefi' : 'bios',
          memoryMib: Math.min(server.flavor.ramMib, MAX_GUEST_MEMORY_MIB),
          disks,
        },
        async () => {
          await releaseAll();
          // A guest that switched itself off, or was killed from outside.
          await this.options.db
            .updateTable('cloud.server')
            .set({ status: 'SHUTOFF' })
            .where('id', '=', server.id)
            .where('status', '=', 'ACTIVE')
            .execute();
        },
      );
    } catch (error) {
      await releaseAll();
      throw error;
    }
  }

  private async checkNew(request: NewServer): Promise<void> {
    const stored = await this.options.db
      .selectFrom('cloud.server')
      .select(['request', 'deleted_at'])
      .where('id', '=', request.id)
      .executeTakeFirst();
    if (stored !== undefined) {
      if (stored.deleted_at !== null) throw new NeighbourError('CONFLICT', `server ${request.id}, which was deleted`);
      return checkSameRequest(`server ${request.id}`, stored.request, request);
    }
    if (request.kind === 'ecs' && request.bootFrom === 'local-disk')
      throw new NeighbourError('INVALID', 'an ECS that boots from a local disk');
    const root = request.volumes.find(({ bootIndex }) => bootIndex === 0);
    if (request.image === undefined) return;
    let rootSizeGib = root?.create?.sizeGib;
    if (root !== undefined && root.create === undefined)
      rootSizeGib = (await this.options.volumes.get(request.projectId, root.id))?.sizeGib;
    checkImageFits(request.image, request.flavor, rootSizeGib);
  }

  private async finishBuild(request: NewServer): Promise<void> {
    const { id: serverId, projectId } = request;
    try {
      await inTransaction(this.options.db, async (trx) => {
        for (const { id, device, bootIndex, deleteOnTermination } of request.volumes) {
          await attachIn(trx, { projectId, serverId, volumeId: id, device, bootIndex, deleteOnTermination });
        }
        await trx
          .updateTable('cloud.server')
          .set({ status: 'SHUTOFF' })
          .where('id', '=', serverId)
          .where('status', '=', 'BUILD')
          .execute();
      });
    } catch (error) {
      if (sqlState(error) !== UNIQUE_VIOLATION) throw error;
      throw new NeighbourError('INVALID', `server ${serverId} with two system disks or one device twice`, {
        cause: error,
      });
    }
  }

  /** Runs `work` while the server is busy with `task`, then gives its new state. */
  private async duringTask(
    projectId: string,
    serverId: string,
    task: OwnTask,
    work: (server: Server) => Promise<void>,
  ): Promise<Server> {
    const holder = randomUUID();
    await work(await this.beginTask({ projectId, serverId, task, holder })).finally(() =>
      endTaskIn(this.options.db, { projectId, serverId, holder }),
    );
    return this.require(projectId, serverId);
  }

  private async setResStatus(projectId: string, serverId: string, resStatus: 'normal' | 'freeze'): Promise<Server> {
    await this.options.db
      .updateTable('cloud.server')
      .set({ res_status: resStatus })
      .where('id', '=', serverId)
      .where('project_id', '=', projectId)
      .where('deleted_at', 'is', null)
      .execute();
    return this.require(projectId, serverId);
  }

  private async require(projectId: string, serverId: string): Promise<Server> {
    const server = await this.get(projectId, serverId);
    if (server === undefined) throw new NeighbourError('NOT_FOUND', `server ${serverId}`);
    return server;
  }

  private async read(projectId: string, serverId?: string): Promise<Server[]> {
    let query = this.options.db
      .selectFrom('cloud.server')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('deleted_at', 'is', null)
      .orderBy('created_at')
      .orderBy('id');
    if (serverId !== undefined) query = query.where('id', '=', serverId);
    const rows = await query.execute();
    if (rows.length === 0) return [];
    const attachments = await this.options.db
      .selectFrom('cloud.volume_attachment as attachment')
      .innerJoin('cloud.volume as volume', 'volume.id', 'attachment.volume_id')
      .selectAll('attachment')
      .select('volume.size_gib')
      .where(
        'attachment.server_id',
        'in',
        rows.map(({ id }) => id),
      )
      .orderBy('attachment.device')
      .execute();
    return rows.map((row) => ({
      ...serverOf(row),
      volumes: attachments
        .filter((attachment) => attachment.server_id === row.id)
        .map((attachment) => ({
          volumeId: attachment.volume_id,
          device: attachment.device,
          bootIndex: attachment.boot_index,
          sizeGib: attachment.size_gib,
          deleteOnTermination: attachment.delete_on_termination,
        })),
    }));
  }
}

function serverOf(row: ServerRow): Omit<Server, 'volumes'> {
  return {
    id: row.id,
    projectId: row.project_id,
    name: row.name,
    kind: row.kind,
    status: storedStatus.parse(row.status),
    taskState: row.task_state,
    resStatus: row.res_status,
    isBeingReclaimed: row.is_being_reclaimed,
    bootFrom: row.boot_from,
    flavor: storedFlavor.parse(row.flavor),
    imageId: row.image_id,
    metadata: { ...storedMetadata.parse(row.metadata), EcmResStatus: row.res_status },
    tags: row.kind === 'bms' ? [BAREMETAL_TAG] : [],
    availabilityZone: row.availability_zone,
    createdAt: row.created_at,
  };
}

function checkStatus(server: Server, allowed: readonly ServerStatus[]): void {
  if (!allowed.includes(server.status))
    throw new NeighbourError('WRONG_STATE', `server ${server.id}, which is ${server.status}`);
}

/** @throws NeighbourError NOT_FOUND, BUSY */
export async function beginTaskIn(
  trx: Transaction<Database>,
  { projectId, serverId, task, holder }: { projectId: string; serverId: string; task: string; holder: string },
): Promise<void> {
  const row = await trx
    .selectFrom('cloud.server')
    .select('task_holder')
    .where('id', '=', serverId)
    .where('project_id', '=', projectId)
    .where('deleted_at', 'is', null)
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) throw new NeighbourError('NOT_FOUND', `server ${serverId}`);
  if (row.task_holder !== null && row.task_holder !== holder) throw new NeighbourError('BUSY', `server ${serverId}`);
  await trx
    .updateTable('cloud.server')
    .set({ task_state: task, task_holder: holder })
    .where('id', '=', serverId)
    .execute();
}

/** Ends the task of `holder`; does nothing when it holds none. */
export async function endTaskIn(
  db: Kysely<Database>,
  { projectId, serverId, holder }: { projectId: string; serverId: string; holder: string },
): Promise<void> {
  await db
    .updateTable('cloud.server')
    .set({ task_state: null, task_holder: null })
    .where('id', '=', serverId)
    .where('project_id', '=', projectId)
    .where('task_holder', '=', holder)
    .execute();
}
