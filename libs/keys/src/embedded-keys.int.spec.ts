import { randomBytes } from 'node:crypto';
import { ImsError } from '@ims/contract';
import { fixedClock } from '@ims/db';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { describeKeyService } from './contract/keys.contract';
import { domainDataKeys } from './domain-data-keys';
import { EmbeddedKeys } from './embedded-keys';

const PROJECT = 'a'.repeat(32);

let database: TestDatabase;
const clock = fixedClock(new Date('2026-11-24T00:00:00Z'));
let keys: EmbeddedKeys;
beforeAll(async () => {
  database = await testDatabase();
  keys = new EmbeddedKeys({ db: database.db, rootKey: randomBytes(32), clock });
});
afterAll(() => database.drop());

describeKeyService(() => ({
  keys,
  addDays: (days) => clock.set(new Date(clock.now().getTime() + days * 86_400_000)),
}));

describe(EmbeddedKeys.name, () => {
  it('opens nothing under another root key', async () => {
    const { id } = await keys.createKey({ projectId: PROJECT, accountId: 'acc', alias: 'rooted' });
    const others = new EmbeddedKeys({ db: database.db, rootKey: randomBytes(32), clock });
    await expect(others.createDataKey(PROJECT, id, { lengthBytes: 32, context: {} })).rejects.toThrow('root key');
  });
});

describe(domainDataKeys.name, () => {
  it('says of a key that cannot be used what that means for an image (ENC-02)', async () => {
    const dataKeys = domainDataKeys(keys, 'region-1');
    const { id } = await keys.createKey({ projectId: PROJECT, accountId: 'acc', alias: 'domain' });
    const domain = { id: 'd1', projectId: PROJECT, keyId: id };
    const { key, wrapped } = await dataKeys.create(domain);
    expect(await dataKeys.open(domain, wrapped)).toEqual(key);
    await expect(dataKeys.open({ ...domain, id: 'd2' }, wrapped)).rejects.toMatchObject({ code: 'KMS.2201' });
    await expect(domainDataKeys(keys, 'region-2').open(domain, wrapped)).rejects.toThrow(ImsError);
    await expect(dataKeys.create({ ...domain, projectId: 'b'.repeat(32) })).rejects.toMatchObject({ code: 'IMG.0095' });
    await keys.disableKey(PROJECT, id);
    await expect(dataKeys.open(domain, wrapped)).rejects.toMatchObject({ code: 'IMG.0097' });
    await keys.scheduleDeletion(PROJECT, id, 7);
    await expect(dataKeys.open(domain, wrapped)).rejects.toMatchObject({ code: 'IMG.0097' });
  });
});
