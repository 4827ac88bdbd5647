import { jobId, SERVICE_PROJECT } from '@ims/contract';
import { type CollectState, decideCollectStore } from './store-collect.decider';

const NOW = new Date('2026-11-24T12:00:00Z');
const ago = (minutes: number): Date => new Date(NOW.getTime() - minutes * 60_000);
const JOB = jobId('c'.repeat(32));
const decide = (state: CollectState, isByHand = false) => decideCollectStore(state, { jobId: JOB, now: NOW, isByHand });
const last = (minutes: number, outcome: 'succeeded' | 'failed' | null) => ({ acceptedAt: ago(minutes), outcome });

describe(decideCollectStore.name, () => {
  it('accepts a job of the service itself', () => {
    const decision = decide({ last: undefined, isDue: true });
    expect(decision?.input).toEqual({ jobId: JOB, epoch: 1, projectId: SERVICE_PROJECT });
    expect(decision?.events).toEqual([
      {
        type: 'job.accepted',
        stream: `job:${JOB}`,
        key: 'accepted',
        data: {
          jobType: 'imsCollectStoreJob',
          saga: 'store-collect',
          imageId: null,
          imageName: '',
          request: { by: 'schedule' },
          steps: ['collect', 'audit'],
        },
      },
    ]);
  });

  it.each<[string, CollectState, boolean]>([
    ['something is due and the last pass is long over', { last: last(6, 'succeeded'), isDue: true }, true],
    ['something is due and the last pass was just now', { last: last(4, 'succeeded'), isDue: true }, false],
    ['nothing is due', { last: last(300, 'succeeded'), isDue: false }, false],
    ['nothing is due and the last audit was six hours ago', { last: last(360, 'succeeded'), isDue: false }, true],
    ['the last pass failed within the hour', { last: last(59, 'failed'), isDue: true }, false],
    ['the last pass failed an hour ago', { last: last(60, 'failed'), isDue: true }, true],
    ['a pass is under way, however long', { last: last(6000, null), isDue: true }, false],
  ])('when %s (C9)', (_when, state, begins) => {
    expect(decide(state) !== undefined).toBe(begins);
  });

  it('asked for by hand it waits for nothing but a pass under way', () => {
    expect(decide({ last: last(0, 'failed'), isDue: false }, true)?.events[0]).toMatchObject({
      data: { request: { by: 'hand' } },
    });
    expect(decide({ last: last(0, null), isDue: true }, true)).toBeUndefined();
  });
});
