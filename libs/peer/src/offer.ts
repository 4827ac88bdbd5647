import { DISK_FORMATS, type ImageReplicateInput, ImsError, type ReceiveOffer } from '@ims/contract';
import { type Database, ImagesRepository } from '@ims/db';
import { type BackupsPort, findReplicableImage, type FoundReplicable, offeredBackupOf } from '@ims/neighbours';
import type { Kysely } from 'kysely';
import { ancestorsOf, lineageOf } from './ancestors';

interface Parts {
  db: Kysely<Database>;
  backups: Pick<BackupsPort, 'get'>;
}

/** What another region is told of the image that it is to take in. @throws ImsError IMG.0046 when that has gone */
export async function offerOf({ db, backups }: Parts, input: ImageReplicateInput): Promise<ReceiveOffer> {
  const found = await findReplicableImage(db, backups, input.projectId, input.sourceImageId);
  if (found === undefined) throw new ImsError('IMG.0046', `image ${input.sourceImageId} is not there any more`);
  const { row, disks, backup } = found;
  const { replica, target } = input;
  const { region: _, ...account } = target;
  return {
    jobId: input.jobId,
    epoch: input.epoch,
    ...account,
    sourceImageId: row.id,
    image: {
      imageId: replica.imageId,
      name: replica.name,
      diskFormat: row.disk_format,
      minDiskGib: row.min_disk_gib,
      minRamMib: row.min_ram_mib,
      tags: [],
      attributes: {
        ...found.image.attributes,
        __description: replica.description,
        enterprise_project_id: replica.enterpriseProjectId,
      },
    },
    ancestors: await ancestorsOf(db, row),
    lineage: lineageOf(row),
    disks: disks.map(({ part, manifestHash, virtualSizeBytes }) => ({ part, manifestHash, virtualSizeBytes })),
    ...(await fileOf(db, found)),
    ...(backup === undefined || target.vaultId === undefined ? {} : { backup: offeredBackupOf(backup) }),
  };
}

/** What is known of the disk in a file; nobody who has not looked into it here is trusted to there. */
async function fileOf(db: Kysely<Database>, { row }: FoundReplicable): Promise<Pick<ReceiveOffer, 'file'>> {
  if (row.form !== 'file') return {};
  const parts = await new ImagesRepository(db).parts(row.id);
  const format = DISK_FORMATS.find((known) => known === row.disk_format);
  // An image whose file had another format would never have been accepted.
  if (format === undefined) throw new ImsError('IMG.0072', row.disk_format);
  return {
    file: {
      format,
      virtualSizeBytes: row.virtual_size_bytes ?? row.file_bytes ?? 1,
      isUnseen: parts.length === 0,
    },
  };
}
