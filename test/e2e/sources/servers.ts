import { randomUUID } from 'node:crypto';
import type { NewServer, Server } from '@ims/neighbours';
import type { Source, SourceBench } from './source';

const CREATE = '/v2/cloudimages/action';

const server = (
  name: string,
  cites: string,
  changes: Partial<NewServer>,
  fields: Record<string, unknown>,
  refusals: Source['refusals'] = [],
): Source => ({
  name,
  cites,
  prepare: async (bench) => {
    const { id } = await bench.aServer(changes);
    return {
      submit: () => bench.accepted(CREATE, { name: 'of-server', instance_id: id }),
      images: [
        {
          raw: bench.raw,
          fields: { min_disk: 1, __data_origin: `instance,${id}`, __os_type: 'Linux', __os_bit: '64', ...fields },
        },
      ],
    };
  },
  refusals,
});

const refused = (
  what: string,
  code: string,
  changes: Partial<NewServer>,
  spoil: (bench: SourceBench, server: Server) => Promise<unknown> = () => Promise.resolve(),
) => ({
  what,
  code,
  call: async (bench: SourceBench) => {
    const made = await bench.aServer(changes);
    await spoil(bench, made);
    return bench.post(CREATE, { name: 'of-server', instance_id: made.id });
  },
});

export const SERVERS: readonly Source[] = [
  server('a running server', 'CRE-01, CRE-03', {}, { virtual_env_type: 'FusionCompute' }, [
    {
      what: 'an unknown server (CRE-01)',
      code: 'IMG.0005',
      call: (bench) => bench.post(CREATE, { name: 'of-server', instance_id: randomUUID() }),
    },
    {
      what: 'no server at all (CRE-01)',
      code: 'IMG.0012',
      call: (bench) => bench.post(CREATE, { name: 'of-server', instance_id: '' }),
    },
    refused('a busy server (CRE-03)', 'IMG.0010', {}, (bench, { id: serverId }) =>
      bench.cloud.servers.beginTask({ projectId: bench.projectId, serverId, task: 'resizing', holder: 'test' }),
    ),
    refused('a frozen server (CRE-25)', 'IMG.0008', {}, (bench, { id }) =>
      bench.cloud.servers.freeze(bench.projectId, id),
    ),
  ]),
  server('a stopped server', 'CRE-01, CRE-03', { initialStatus: 'SHUTOFF' }, { virtual_env_type: 'FusionCompute' }),
  server(
    'a bare-metal server',
    'CRE-02, CRE-04',
    { kind: 'bms', initialStatus: 'SHUTOFF' },
    { virtual_env_type: 'Ironic' },
    [
      refused('bare metal that runs (CRE-04)', 'IMG.0008', { kind: 'bms', initialStatus: 'ACTIVE' }),
      refused('bare metal that boots from a local disk (CRE-04)', 'IMG.0006', {
        kind: 'bms',
        initialStatus: 'SHUTOFF',
        bootFrom: 'local-disk',
      }),
    ],
  ),
];
