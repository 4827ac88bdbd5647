import { decideBackUpServer } from './server-backup.decider';

describe(decideBackUpServer, () => {
  it('accepts a job that bears the id of its checkpoint and makes no image', () => {
    const { events, input } = decideBackUpServer({
      projectId: 'a'.repeat(32),
      checkpointId: '9a6d3c1f-0b57-4e02-9a60-1c2d3e4f5a6b',
      vaultId: 'v',
      serverId: 's',
      name: 'nightly',
    });
    expect(input).toMatchObject({ jobId: '9a6d3c1f0b574e029a601c2d3e4f5a6b', epoch: 1, vaultId: 'v', serverId: 's' });
    expect(events).toEqual([
      expect.objectContaining({
        type: 'job.accepted',
        stream: 'job:9a6d3c1f0b574e029a601c2d3e4f5a6b',
        data: expect.objectContaining({
          saga: 'server-backup',
          imageId: null,
          request: { vault_id: 'v', server_id: 's', name: 'nightly' },
          steps: ['quiesce', 'disks', 'seal', 'release-snapshots'],
        }),
      }),
    ]);
  });
});
