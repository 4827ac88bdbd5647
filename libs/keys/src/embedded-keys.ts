import { randomBytes, randomUUID } from 'node:crypto';
import { ImsError } from '@ims/contract';
import { type Clock, type Database, inTransaction } from '@ims/db';
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import type { CreateKeyRequest, EncryptionContext, KeyInfo, KeyService, KeyState, ListKeysRequest } from './keys.port';
import { materialKey, seal, unseal, unwrap, wrap } from './wrapping';

type KeyRow = Selectable<Database['kms_key']>;

const KEY_BYTES = 32;
const DAY_MS = 86_400_000;
const PENDING_DAYS = { min: 7, max: 1096 } as const;
const MAX_DATA_KEY_BYTES = 1024;
// Of its canonical JSON (backends C1).
const MAX_CONTEXT_CHARS = 8192;
const ALIAS = /^[a-zA-Z0-9:/_-]{1,255}$/;
const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface EmbeddedKeysOptions {
  db: Kysely<Database>;
  /** 32 bytes; wraps the material of every key. */
  rootKey: Uint8Array;
  clock: Clock;
}

/** The key service that comes with this one: keys are rows, their material wrapped by the root key (backends C4.3). */
export class EmbeddedKeys implements KeyService {
  private readonly db: Kysely<Database>;
  private readonly clock: Clock;
  private readonly wrappingKey: Buffer;

  /** @example new EmbeddedKeys({ db, rootKey: parseRootKey(config.rootKey), clock: systemClock }) */
  constructor({ db, rootKey, clock }: EmbeddedKeysOptions) {
    this.db = db;
    this.clock = clock;
    this.wrappingKey = materialKey(rootKey);
  }

  async createKey(request: CreateKeyRequest): Promise<KeyInfo> {
    const { alias, description = '', enterpriseProjectId = '0' } = request;
    if (!ALIAS.test(alias)) throw new ImsError('KMS.0308', 'key_alias has 1 to 255 letters, digits and : / _ -');
    await this.forgetDue(request.projectId);
    const id = randomUUID();
    const material = randomBytes(KEY_BYTES);
    const row = await this.db
      .insertInto('kms_key')
      .values({
        id,
        project_id: request.projectId,
        account_id: request.accountId,
        alias,
        description,
        spec: 'AES_256',
        usage: 'ENCRYPT_DECRYPT',
        origin: 'kms',
        state: 'enabled',
        material_wrapped: seal(this.wrappingKey, Buffer.from(id), material),
        created_at: this.clock.now(),
        enterprise_project_id: enterpriseProjectId,
      })
      .onConflict((conflict) => conflict.columns(['project_id', 'alias']).doNothing())
      .returningAll()
      .executeTakeFirst();
    material.fill(0);
    if (row === undefined) throw new ImsError('KMS.1104');
    return infoOf(row);
  }

  async describeKey(projectId: string, keyId: string): Promise<KeyInfo> {
    return infoOf(await this.find(this.db, projectId, keyId));
  }

  async listKeys({
    projectId,
    state,
    limit,
    after,
  }: ListKeysRequest): Promise<{ keys: KeyInfo[]; isTruncated: boolean }> {
    await this.forgetDue(projectId);
    let query = this.db
      .selectFrom('kms_key')
      .selectAll()
      .where('project_id', '=', projectId)
      .orderBy('id')
      .limit(limit + 1);
    if (state !== undefined) query = query.where('state', '=', state);
    if (after !== undefined) query = query.where('id', '>', checkKeyId(after));
    const rows = await query.execute();
    return { keys: rows.slice(0, limit).map(infoOf), isTruncated: rows.length > limit };
  }

  enableKey(projectId: string, keyId: string): Promise<KeyInfo> {
    return this.change(projectId, keyId, (state) => {
      if (state === 'pending-deletion') throw new ImsError('KMS.0210');
      return { state: 'enabled', deletionAt: null };
    });
  }

  disableKey(projectId: string, keyId: string): Promise<KeyInfo> {
    return this.change(projectId, keyId, (state) => {
      if (state !== 'enabled') throw new ImsError('KMS.1301');
      return { state: 'disabled', deletionAt: null };
    });
  }

  scheduleDeletion(projectId: string, keyId: string, pendingDays: number): Promise<KeyInfo> {
    if (!Number.isInteger(pendingDays) || pendingDays < PENDING_DAYS.min || pendingDays > PENDING_DAYS.max)
      throw new ImsError('KMS.1401', `pending_days must be ${PENDING_DAYS.min} to ${PENDING_DAYS.max}`);
    return this.change(projectId, keyId, (state) => {
      if (state === 'pending-deletion') throw new ImsError('KMS.1402');
      return { state: 'pending-deletion', deletionAt: new Date(this.clock.now().getTime() + pendingDays * DAY_MS) };
    });
  }

  cancelDeletion(projectId: string, keyId: string): Promise<KeyInfo> {
    return this.change(projectId, keyId, (state) => {
      if (state !== 'pending-deletion') throw new ImsError('KMS.1501');
      return { state: 'disabled', deletionAt: null };
    });
  }

  async createDataKey(
    projectId: string,
    keyId: string,
    { lengthBytes, context }: { lengthBytes: number; context: EncryptionContext },
  ): Promise<{ plaintext: Buffer; wrapped: Buffer }> {
    checkLength(lengthBytes);
    const plaintext = randomBytes(lengthBytes);
    return { plaintext, wrapped: await this.encryptDataKey(projectId, keyId, { plaintext, context }) };
  }

  async encryptDataKey(
    projectId: string,
    keyId: string,
    { plaintext, context }: { plaintext: Uint8Array; context: EncryptionContext },
  ): Promise<Buffer> {
    checkLength(plaintext.length);
    checkContext(context);
    const row = await this.usable(projectId, keyId);
    return this.withMaterial(row, (material) => wrap(row.id, material, context, plaintext));
  }

  async decryptDataKey(
    projectId: string,
    keyId: string,
    { wrapped, context }: { wrapped: Uint8Array; context: EncryptionContext },
  ): Promise<Buffer> {
    checkContext(context);
    const row = await this.usable(projectId, keyId);
    const plain = this.withMaterial(row, (material) => unwrap(row.id, material, context, wrapped));
    if (plain === undefined) throw new ImsError('KMS.2201');
    return plain;
  }

  private async find(db: Kysely<Database>, projectId: string, keyId: string): Promise<KeyRow> {
    const row = await db
      .selectFrom('kms_key')
      .selectAll()
      .where('id', '=', checkKeyId(keyId))
      .where('project_id', '=', projectId)
      .executeTakeFirst();
    if (row === undefined) throw new ImsError('KMS.0205');
    if (row.deletion_at === null || row.deletion_at > this.clock.now()) return row;
    // Its time has come: the material goes, whoever looks first.
    await db.deleteFrom('kms_key').where('id', '=', row.id).where('deletion_at', '=', row.deletion_at).execute();
    throw new ImsError('KMS.0205');
  }

  /** The keys of a project whose time has come go with their material, and their aliases are free. */
  private async forgetDue(projectId: string): Promise<void> {
    await this.db
      .deleteFrom('kms_key')
      .where('project_id', '=', projectId)
      .where('deletion_at', '<=', this.clock.now())
      .execute();
  }

  private async usable(projectId: string, keyId: string): Promise<KeyRow> {
    const row = await this.find(this.db, projectId, keyId);
    const { state } = infoOf(row);
    if (state === 'disabled') throw new ImsError('KMS.0209');
    if (state === 'pending-deletion') throw new ImsError('KMS.0210');
    return row;
  }

  private withMaterial<T>(row: KeyRow, use: (material: Buffer) => T): T {
    const material = unseal(this.wrappingKey, Buffer.from(row.id), row.material_wrapped);
    if (material === undefined)
      throw new TypeError(`key ${row.id}: the root key is not the one it was wrapped with, or it was altered`);
    try {
      return use(material);
    } finally {
      material.fill(0);
    }
  }

  private async change(
    projectId: string,
    keyId: string,
    decide: (state: KeyState) => { state: KeyState; deletionAt: Date | null },
  ): Promise<KeyInfo> {
    // Outside of the transaction, so that a key whose time has come goes although the call fails.
    await this.find(this.db, projectId, keyId);
    return inTransaction(this.db, async (trx) => {
      const { state } = infoOf(await this.lock(trx, projectId, keyId));
      const next = decide(state);
      const row = await trx
        .updateTable('kms_key')
        .set({ state: next.state, deletion_at: next.deletionAt })
        .where('id', '=', keyId)
        .returningAll()
        .executeTakeFirstOrThrow();
      return infoOf(row);
    });
  }

  private async lock(trx: Transaction<Database>, projectId: string, keyId: string): Promise<KeyRow> {
    await sql`select from kms_key where id = ${keyId} and project_id = ${projectId} for update`.execute(trx);
    return this.find(trx, projectId, keyId);
  }
}

function checkKeyId(keyId: string): string {
  if (!KEY_ID.test(keyId)) throw new ImsError('KMS.0205');
  return keyId;
}

function checkLength(bytes: number): void {
  if (!Number.isInteger(bytes) || bytes < 1 || bytes > MAX_DATA_KEY_BYTES)
    throw new ImsError('KMS.1901', `a data key has 8 to ${MAX_DATA_KEY_BYTES * 8} bits`);
}

function checkContext(context: EncryptionContext): void {
  if (JSON.stringify(context).length > MAX_CONTEXT_CHARS) throw new ImsError('KMS.0208');
}

function infoOf(row: KeyRow): KeyInfo {
  return {
    id: row.id,
    projectId: row.project_id,
    accountId: row.account_id,
    alias: row.alias,
    description: row.description,
    enterpriseProjectId: row.enterprise_project_id,
    state: stateOf(row.state),
    createdAt: row.created_at,
    deletionAt: row.deletion_at,
  };
}

function stateOf(text: string): KeyState {
  switch (text) {
    case 'enabled':
    case 'disabled':
    case 'pending-deletion':
      return text;
    default:
      // The table's own check lets no other in.
      throw new TypeError(`a key in state ${text}`);
  }
}
