import { randomBytes, randomUUID } from 'node:crypto';
import { type ErrorCode, ImsError } from '@ims/contract';
import type { KeyInfo, KeyService } from '../keys.port';

const PROJECT = 'a'.repeat(32);
const STRANGER = 'f'.repeat(32);
const CONTEXT = { 'ims:domain': 'one', 'ims:project': PROJECT };

/** What every driver of `KeyService` does. `addDays` moves its clock on. */
export function describeKeyService(setup: () => { keys: KeyService; addDays(days: number): void }): void {
  const aKey = (): Promise<KeyInfo> =>
    setup().keys.createKey({ projectId: PROJECT, accountId: 'acc', alias: `k-${randomUUID()}` });
  const refused = async (call: Promise<unknown>, code: ErrorCode): Promise<void> => {
    const error: unknown = await call.then(
      () => undefined,
      (caught: unknown) => caught,
    );
    expect(error).toBeInstanceOf(ImsError);
    expect(error).toMatchObject({ code });
  };

  describe('KeyService', () => {
    it('makes keys that are enabled, one of an alias in a project', async () => {
      const { keys } = setup();
      const key = await aKey();
      expect(key).toMatchObject({ state: 'enabled', projectId: PROJECT, deletionAt: null });
      expect(await keys.describeKey(PROJECT, key.id)).toEqual(key);
      await refused(keys.createKey({ projectId: PROJECT, accountId: 'acc', alias: key.alias }), 'KMS.1104');
      await keys.createKey({ projectId: STRANGER, accountId: 'other', alias: key.alias });
      for (const alias of ['', 'a b', 'x'.repeat(256)])
        await refused(keys.createKey({ projectId: PROJECT, accountId: 'acc', alias }), 'KMS.0308');
    });

    it('knows no key of another project, nor what is no id', async () => {
      const { keys } = setup();
      const { id } = await aKey();
      await refused(keys.describeKey(STRANGER, id), 'KMS.0205');
      await refused(keys.disableKey(STRANGER, id), 'KMS.0205');
      await refused(keys.createDataKey(STRANGER, id, { lengthBytes: 32, context: {} }), 'KMS.0205');
      await refused(keys.describeKey(PROJECT, randomUUID()), 'KMS.0205');
      await refused(keys.describeKey(PROJECT, 'nonsense'), 'KMS.0205');
    });

    it('lists the keys of a project in pages, by state where that is asked', async () => {
      const { keys } = setup();
      const projectId = randomUUID().replaceAll('-', '');
      const made: KeyInfo[] = [];
      for (const alias of ['a', 'b', 'c']) made.push(await keys.createKey({ projectId, accountId: 'acc', alias }));
      const ids = made.map(({ id }) => id).sort();
      const first = await keys.listKeys({ projectId, limit: 2 });
      expect(first).toMatchObject({ isTruncated: true, keys: [{ id: ids[0] }, { id: ids[1] }] });
      const second = await keys.listKeys({ projectId, limit: 2, after: ids[1] ?? '' });
      expect(second).toMatchObject({ isTruncated: false, keys: [{ id: ids[2] }] });
      await keys.disableKey(projectId, ids[0] ?? '');
      const disabled = await keys.listKeys({ projectId, limit: 10, state: 'disabled' });
      expect(disabled.keys.map(({ id }) => id)).toEqual([ids[0]]);
    });

    it('opens a data key by the same key and the same context alone (ENC-01)', async () => {
      const { keys } = setup();
      const [key, other] = [await aKey(), await aKey()];
      const { plaintext, wrapped } = await keys.createDataKey(PROJECT, key.id, { lengthBytes: 32, context: CONTEXT });
      expect(plaintext).toHaveLength(32);
      expect(wrapped.includes(plaintext)).toBe(false);
      // The order in which a context is written down means nothing.
      const turned = { 'ims:project': PROJECT, 'ims:domain': 'one' };
      expect(await keys.decryptDataKey(PROJECT, key.id, { wrapped, context: turned })).toEqual(plaintext);
      const open = (id: string, bytes: Buffer, context: Record<string, string> = CONTEXT) =>
        keys.decryptDataKey(PROJECT, id, { wrapped: bytes, context });
      await refused(open(key.id, wrapped, { ...CONTEXT, 'ims:domain': 'two' }), 'KMS.2201');
      await refused(open(other.id, wrapped), 'KMS.2201');
      await refused(open(key.id, Buffer.alloc(0)), 'KMS.2201');
      for (let at = 0; at < wrapped.length; at += 1) {
        const altered = Buffer.from(wrapped);
        altered.writeUInt8(altered.readUInt8(at) ^ 1, at);
        await refused(open(key.id, altered), 'KMS.2201');
      }
    });

    it('wraps data keys that come from elsewhere, and refuses lengths and contexts out of bounds', async () => {
      const { keys } = setup();
      const { id } = await aKey();
      const plaintext = randomBytes(64);
      const wrapped = await keys.encryptDataKey(PROJECT, id, { plaintext, context: {} });
      expect(await keys.decryptDataKey(PROJECT, id, { wrapped, context: {} })).toEqual(plaintext);
      for (const lengthBytes of [0, 1025, 1.5])
        await refused(keys.createDataKey(PROJECT, id, { lengthBytes, context: {} }), 'KMS.1901');
      for (const length of [0, 1025])
        await refused(keys.encryptDataKey(PROJECT, id, { plaintext: randomBytes(length), context: {} }), 'KMS.1901');
      await refused(keys.createDataKey(PROJECT, id, { lengthBytes: 32, context: { a: 'x'.repeat(8192) } }), 'KMS.0208');
    });

    it('does nothing with a disabled key until it is enabled again (ENC-05)', async () => {
      const { keys } = setup();
      const { id } = await aKey();
      const { plaintext, wrapped } = await keys.createDataKey(PROJECT, id, { lengthBytes: 32, context: CONTEXT });
      expect(await keys.disableKey(PROJECT, id)).toMatchObject({ state: 'disabled' });
      await refused(keys.createDataKey(PROJECT, id, { lengthBytes: 32, context: CONTEXT }), 'KMS.0209');
      await refused(keys.decryptDataKey(PROJECT, id, { wrapped, context: CONTEXT }), 'KMS.0209');
      await refused(keys.disableKey(PROJECT, id), 'KMS.1301');
      await keys.enableKey(PROJECT, id);
      expect(await keys.decryptDataKey(PROJECT, id, { wrapped, context: CONTEXT })).toEqual(plaintext);
    });

    it('deletes a key when its time has come and not before', async () => {
      const { keys, addDays } = setup();
      const { id } = await aKey();
      for (const days of [6, 1097, 7.5])
        await expect(Promise.resolve().then(() => keys.scheduleDeletion(PROJECT, id, days))).rejects.toMatchObject({
          code: 'KMS.1401',
        });
      await refused(keys.cancelDeletion(PROJECT, id), 'KMS.1501');
      await keys.scheduleDeletion(PROJECT, id, 7);
      await refused(keys.scheduleDeletion(PROJECT, id, 7), 'KMS.1402');
      await refused(keys.enableKey(PROJECT, id), 'KMS.0210');
      await refused(keys.createDataKey(PROJECT, id, { lengthBytes: 32, context: {} }), 'KMS.0210');
      expect(await keys.cancelDeletion(PROJECT, id)).toMatchObject({ state: 'disabled', deletionAt: null });
      await keys.scheduleDeletion(PROJECT, id, 7);
      addDays(6);
      expect(await keys.describeKey(PROJECT, id)).toMatchObject({ state: 'pending-deletion' });
      addDays(1);
      await refused(keys.describeKey(PROJECT, id), 'KMS.0205');
      await refused(keys.cancelDeletion(PROJECT, id), 'KMS.0205');
    });

    it('frees the alias of a key whose time has come, though nobody asks for that key', async () => {
      const { keys, addDays } = setup();
      const { id, alias } = await aKey();
      await keys.scheduleDeletion(PROJECT, id, 7);
      const again = { projectId: PROJECT, accountId: 'acc', alias };
      await refused(keys.createKey(again), 'KMS.1104');
      addDays(7);
      expect((await keys.createKey(again)).id).not.toBe(id);
      await refused(keys.describeKey(PROJECT, id), 'KMS.0205');
    });
  });
}
