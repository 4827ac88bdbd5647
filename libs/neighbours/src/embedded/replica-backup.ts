import { type Clock, type Database, inTransaction } from '@ims/db';
import type { Kysely } from 'kysely';
import type { ReplicaRequest, Vault } from '../backups.port';
import type { LayerFile } from '../disk/layer-file';
import type { LayerStore } from '../disk/layer-store';
import { NeighbourError } from '../neighbour.errors';
import { derivedId, GIB } from '../records';

// The unit of a backup's layers, the same as a segment of the image store.
const BLOCK_BYTES = 2 * 1024 * 1024;

interface Parts {
  db: Kysely<Database>;
  layers: LayerStore;
  clock: Clock;
}

/**
 * Records the replica of another region's backup, whole and complete: its disks are those of the image that came with it, which they keep. The server is
 * one of the other region; here is no more than its record, that of a server which has gone.
 */
export async function recordReplica(
  { db, layers, clock }: Parts,
  vault: Vault,
  request: ReplicaRequest,
): Promise<void> {
  const { projectId, imageId, backup, disks } = request;
  if (vault.protectType !== 'replication')
    throw new NeighbourError('VAULT_WRONG_KIND', `vault ${vault.id}, which takes no replicas`);
  if (vault.status !== 'available') throw new NeighbourError('VAULT_UNUSABLE', `vault ${vault.id}, ${vault.status}`);
  const now = clock.now();
  const files: LayerFile[] = [];
  try {
    for (const { sizeGib } of backup.disks) files.push(await layers.createFile(sizeGib * GIB, BLOCK_BYTES));
    await inTransaction(db, async (trx) => {
      await trx
        .insertInto('cloud.server')
        .values({
          id: backup.serverId,
          project_id: projectId,
          name: backup.serverName,
          kind: 'ecs',
          status: 'DELETED',
          is_being_reclaimed: false,
          boot_from: 'volume',
          flavor: JSON.stringify({
            id: 'of-another-region',
            vcpus: 1,
            ramMib: 1024,
            architecture: backup.architecture,
            series: 'S6',
          }),
          image_id: null,
          metadata: JSON.stringify({}),
          availability_zone: '',
          request: JSON.stringify({}),
          created_at: now,
          deleted_at: now,
        })
        // Another backup of it came before.
        .onConflict((conflict) => conflict.column('id').doNothing())
        .execute();
      const checkpointId = derivedId(backup.backupId, 'replica');
      await trx
        .insertInto('cloud.checkpoint')
        .values({
          id: checkpointId,
          project_id: projectId,
          line: 'CBR',
          vault_id: vault.id,
          server_id: backup.serverId,
          status: 'available',
          backup_id: backup.backupId,
          quiesced_by: 'no-writer',
          // Nothing is copied here any more.
          disks: JSON.stringify([]),
          request: JSON.stringify({ replica: true }),
          created_at: now,
        })
        .onConflict((conflict) => conflict.column('id').doUpdateSet({ status: 'available', vault_id: vault.id }))
        .execute();
      await trx
        .insertInto('cloud.backup')
        .values({
          id: backup.backupId,
          project_id: projectId,
          line: 'CBR',
          name: backup.name,
          checkpoint_id: checkpointId,
          vault_id: vault.id,
          server_id: backup.serverId,
          server_name: backup.serverName,
          availability_zone: '',
          status: 'available',
          image_id: imageId,
          created_at: now,
        })
        .execute();
      for (const [n, disk] of backup.disks.entries()) {
        const stored = disks.find(({ diskBackupId }) => diskBackupId === disk.diskBackupId);
        const file = files[n];
        if (stored === undefined || file === undefined)
          throw new NeighbourError('INVALID', `replica of backup ${backup.backupId} without its disk ${disk.device}`);
        const { domainId, manifestHash, virtualSizeBytes, storedBytes } = stored;
        await layers.insert(trx, {
          file,
          baseImage: { imageId, domainId, manifestHash, virtualSizeBytes },
          sealed: true,
        });
        await trx
          .insertInto('cloud.disk_backup')
          .values({
            id: disk.diskBackupId,
            backup_id: backup.backupId,
            volume_id: disk.volumeId,
            size_gib: disk.sizeGib,
            device: disk.device,
            is_system_disk: disk.isSystemDisk,
            bootable: disk.bootable,
            key_id: null,
            is_incremental: false,
            stored_bytes: storedBytes,
            layer_id: file.geometry.id,
            source_layer_id: file.geometry.id,
          })
          .execute();
      }
    });
  } catch (error) {
    for (const file of files) await layers.discardFile(file);
    throw error;
  }
  for (const file of files) await file.close();
}
