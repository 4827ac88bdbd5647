import { randomBytes, randomUUID } from 'node:crypto';
import type { Database } from '@ims/db';
import type { Kysely } from 'kysely';
import { DomainNotFoundError, StoredBytesDamagedError } from '../errors';
import type { DataKeys, KeyedDomain } from '../image-store.port';
import { DomainSeal, isCommittedTo, keyCommitment } from '../layout/seal';

/** What the bytes of one dedup domain are named and sealed with. */
export interface OpenedDomain {
  id: string;
  /** Keys the names of its segments. */
  secret: Buffer;
  /**
   * Its seals; absent in a plain domain. To be used at once, not after another `await`: they are wiped when their time is over, and whoever needs them
   * again opens the domain again.
   */
  seal: DomainSeal | undefined;
}

interface DomainRow {
  id: string;
  secret: Buffer;
  keyed: { domain: KeyedDomain; wrapped: Buffer; commitment: Buffer } | undefined;
}

interface Kept {
  secret: Buffer;
  seal: DomainSeal;
  timer: NodeJS.Timeout;
}

/**
 * Dedup domains: of a project's plain images, and of those it keeps under one of its keys (design 4, "Names"). A data key lies in the memory of the
 * process for as long as `keepMs` says and is wiped then, so that a key which is switched off is noticed that soon (ENC-05).
 */
export class Domains {
  private readonly kept = new Map<string, Kept>();
  private readonly opening = new Map<string, Promise<Kept>>();

  constructor(
    private readonly db: Kysely<Database>,
    private readonly dataKeys: DataKeys | undefined,
    private readonly keepMs: number,
  ) {}

  async plain(projectId: string): Promise<string> {
    const found = await this.find(projectId, null);
    if (found !== undefined) return found;
    return this.add({ id: randomUUID(), project_id: projectId, key_id: null });
  }

  /** Asks the key service for a data key at first use; throws what that one throws. */
  async keyed(projectId: string, keyId: string): Promise<string> {
    const found = await this.find(projectId, keyId);
    if (found !== undefined) return found;
    const domain: KeyedDomain = { id: randomUUID(), projectId, keyId };
    const { key, wrapped } = await this.service().create(domain);
    try {
      return await this.add({
        id: domain.id,
        project_id: projectId,
        key_id: keyId,
        wrapped_key: Buffer.from(wrapped),
        key_commitment: keyCommitment(domain.id, key),
      });
    } finally {
      key.fill(0);
    }
  }

  /**
   * The domain with its seals, if it has any. Throws `DomainNotFoundError`; what the key service throws where the key may not be used now; and
   * `StoredBytesDamagedError` when it gives back another data key than the domain was made with.
   */
  async open(domainId: string): Promise<OpenedDomain> {
    const kept = this.kept.get(domainId) ?? (await this.opening.get(domainId));
    if (kept !== undefined) return { id: domainId, secret: kept.secret, seal: kept.seal };
    const { id, secret, keyed } = await this.row(domainId);
    if (keyed === undefined) return { id, secret, seal: undefined };
    // Readers that come at once wait for one answer.
    const opening = this.opening.get(id) ?? this.load(secret, keyed).finally(() => this.opening.delete(id));
    this.opening.set(id, opening);
    return { id, secret, seal: (await opening).seal };
  }

  /** Whether it is an encrypted one; the key is not asked for. Throws `DomainNotFoundError`. */
  async isKeyed(domainId: string): Promise<boolean> {
    return (await this.row(domainId)).keyed !== undefined;
  }

  /**
   * What a thread needs to work in the domain: a copy of its data key, which the thread wipes. Whoever has one asks `open` again while the thread works:
   * that is what notices that the key may not be used any more.
   */
  async forThread(domainId: string): Promise<{ domainId: string; domainSecret: Uint8Array; dataKey?: Uint8Array }> {
    const { secret, seal } = await this.open(domainId);
    return { domainId, domainSecret: secret, ...(seal === undefined ? {} : { dataKey: seal.exportKey() }) };
  }

  /** Wipes every key. */
  close(): void {
    for (const domainId of [...this.kept.keys()]) this.drop(domainId);
  }

  private async find(projectId: string, keyId: string | null): Promise<string | undefined> {
    const found = await this.db
      .selectFrom('dedup_domain')
      .select('id')
      .where('project_id', '=', projectId)
      .where('key_id', 'is not distinct from', keyId)
      .executeTakeFirst();
    return found?.id;
  }

  private async add(row: {
    id: string;
    project_id: string;
    key_id: string | null;
    wrapped_key?: Buffer;
    key_commitment?: Buffer;
  }): Promise<string> {
    const inserted = await this.db
      .insertInto('dedup_domain')
      .values({ ...row, secret: randomBytes(32) })
      .onConflict((conflict) => conflict.doNothing())
      .returning('id')
      .executeTakeFirst();
    if (inserted !== undefined) return inserted.id;
    // Somebody else was quicker.
    const found = await this.find(row.project_id, row.key_id);
    if (found === undefined) throw new DomainNotFoundError(row.id);
    return found;
  }

  private async row(domainId: string): Promise<DomainRow> {
    const found = await this.db.selectFrom('dedup_domain').selectAll().where('id', '=', domainId).executeTakeFirst();
    if (found === undefined) throw new DomainNotFoundError(domainId);
    const {
      id,
      project_id: projectId,
      key_id: keyId,
      secret,
      wrapped_key: wrapped,
      key_commitment: commitment,
    } = found;
    if (keyId === null || wrapped === null || commitment === null) return { id, secret, keyed: undefined };
    return { id, secret, keyed: { domain: { id, projectId, keyId }, wrapped, commitment } };
  }

  private async load(secret: Buffer, { domain, wrapped, commitment }: NonNullable<DomainRow['keyed']>): Promise<Kept> {
    const domainId = domain.id;
    const key = await this.service().open(domain, wrapped);
    try {
      if (!isCommittedTo(domainId, key, commitment))
        throw new StoredBytesDamagedError(`domain ${domainId}: the data key is not the one it was made with`);
      const seal = new DomainSeal(domainId, key);
      // Counted from the answer of the key service, whoever asks in the meantime.
      const timer = setTimeout(() => this.drop(domainId), this.keepMs);
      timer.unref();
      const kept = { secret, seal, timer };
      this.kept.set(domainId, kept);
      return kept;
    } finally {
      key.fill(0);
    }
  }

  private drop(domainId: string): void {
    const kept = this.kept.get(domainId);
    this.kept.delete(domainId);
    if (kept === undefined) return;
    clearTimeout(kept.timer);
    kept.seal.wipe();
  }

  private service(): DataKeys {
    if (this.dataKeys === undefined) throw new TypeError('the image store was given no key service');
    return this.dataKeys;
  }
}
