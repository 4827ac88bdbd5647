import { SERVICE_PROJECT } from '@ims/contract';
import { systemClock } from '@ims/db';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { StoreCollection } from './store-collection';

describe(StoreCollection.name, () => {
  let database: TestDatabase;
  const started: number[] = [];

  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.drop());

  const collection = (isDue: boolean): StoreCollection =>
    new StoreCollection({
      db: database.db,
      starter: { startNow: async (id) => void started.push(id) },
      clock: systemClock,
      region: 'region-1',
      isDue: () => Promise.resolve(isDue),
    });

  it('orders one pass, however many workers ask at once (C9)', async () => {
    const orders = await Promise.all([1, 2, 3, 4].map(() => collection(true).order()));
    const [id, ...more] = orders.filter((order) => order !== undefined);
    expect(more).toEqual([]);
    const jobs = await database.db.selectFrom('job').select(['id', 'project_id', 'saga', 'steps']).execute();
    expect(jobs).toEqual([{ id, project_id: SERVICE_PROJECT, saga: 'store-collect', steps: ['collect', 'audit'] }]);
    const outbox = await database.db.selectFrom('outbox').select(['id', 'workflow_type', 'workflow_id']).execute();
    expect(outbox).toEqual([{ id: started[0], workflow_type: 'storeCollect', workflow_id: id }]);
  });

  it('orders none beside a pass under way, not even by hand', async () => {
    expect(await collection(true).order({ isByHand: true })).toBeUndefined();
    expect(started).toHaveLength(1);
  });
});
