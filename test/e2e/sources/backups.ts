import { randomUUID } from 'node:crypto';
import type { Backup } from '@ims/neighbours';
import type { Source, SourceBench } from './source';

const CREATE = '/v1/cloudimages/wholeimages/action';
type Line = Backup['line'];

async function aBackup(bench: SourceBench, line: Line): Promise<Backup> {
  const { cloud, projectId } = bench;
  const { id: serverId } = await bench.aServer();
  const request = { id: randomUUID(), projectId, serverId, name: 'nightly' };
  if (line === 'CSBS') return cloud.backups.recordCsbsItem(request);
  const vault = await cloud.backups.createVault({
    id: randomUUID(),
    projectId,
    name: 'vault',
    objectType: 'server',
    protectType: 'backup',
    sizeGib: 10,
  });
  const { backupId } = await cloud.backups.createCheckpoint({ ...request, vaultId: vault.id });
  const backup = await cloud.backups.get(projectId, backupId);
  if (backup === undefined) throw new Error('no backup was made');
  return backup;
}

const imageOf = (line: Line, backup_id: string) => ({ name: 'whole', backup_id, whole_image_type: line });

const backup = (line: Line, refusals: Source['refusals'] = []): Source => ({
  name: `a ${line} backup of a server`,
  cites: 'CRE-16, CRE-18',
  prepare: async (bench) => {
    const { id } = await aBackup(bench, line);
    // One backup makes one image: each further job has a backup of its own.
    let unused: string | undefined = id;
    return {
      submit: async () => {
        const backupId = unused ?? (await aBackup(bench, line)).id;
        unused = undefined;
        return bench.accepted(CREATE, imageOf(line, backupId));
      },
      images: [
        {
          raw: bench.raw,
          fields: {
            min_disk: 1,
            virtual_env_type: 'FusionCompute',
            __whole_image: 'true',
            __backup_id: id,
            __data_origin: `server_backup,${id}`,
            __os_type: 'Linux',
          },
        },
      ],
    };
  },
  refusals,
});

/** Each code's cases are in the gateway's spec; here is that none leaves anything. */
export const BACKUPS: readonly Source[] = [
  backup('CBR', [
    {
      what: 'an unknown backup (CRE-16)',
      code: 'IMG.0020',
      call: (bench) => bench.post(CREATE, imageOf('CBR', randomUUID())),
    },
    {
      what: 'a backup of the other service',
      code: 'IMG.0198',
      call: async (bench) => bench.post(CREATE, imageOf('CBR', (await aBackup(bench, 'CSBS')).id)),
    },
  ]),
  backup('CSBS'),
];
