/** `key_state` (backends C2). A key waits for activation or for material only where it was imported, which is not offered. */
export const KEY_STATES = { enabled: '2', disabled: '3', 'pending-deletion': '4' } as const;
export type KeyState = keyof typeof KEY_STATES;

export interface KeyInfo {
  id: string;
  projectId: string;
  /** The account it belongs to: `domain_id` on the wire. */
  accountId: string;
  alias: string;
  description: string;
  enterpriseProjectId: string;
  state: KeyState;
  createdAt: Date;
  /** When the key goes for good; `null` while nobody wants that. */
  deletionAt: Date | null;
}

export interface CreateKeyRequest {
  projectId: string;
  accountId: string;
  /** 1 to 255 of `[a-zA-Z0-9:/_-]`, one key of a project each. */
  alias: string;
  description?: string;
  enterpriseProjectId?: string;
}

export interface ListKeysRequest {
  projectId: string;
  state?: KeyState;
  /** Keys of one page, 1 to 1000. */
  limit: number;
  /** Id of the last key of the page before. */
  after?: string;
}

/** What a data key is for: given when it is made, and the same again when it is opened. No secret. */
export type EncryptionContext = Readonly<Record<string, string>>;

/**
 * Key management (backends C). Every call fails with an `ImsError` of a code of that service: KMS.0205 for a key that this project does not have,
 * KMS.0209 for a disabled one, KMS.0210 for one whose deletion is scheduled.
 */
export interface KeyService {
  /** KMS.1104 where the alias is taken, KMS.0308 where it is none. */
  createKey(request: CreateKeyRequest): Promise<KeyInfo>;
  describeKey(projectId: string, keyId: string): Promise<KeyInfo>;
  /** By id. */
  listKeys(request: ListKeysRequest): Promise<{ keys: KeyInfo[]; isTruncated: boolean }>;
  /** An enabled key stays so; KMS.0210. */
  enableKey(projectId: string, keyId: string): Promise<KeyInfo>;
  /** KMS.1301 where it is not enabled. */
  disableKey(projectId: string, keyId: string): Promise<KeyInfo>;
  /** After 7 to 1096 days the key is gone, and everything under it; KMS.1401 for another time, KMS.1402 where that is scheduled already. */
  scheduleDeletion(projectId: string, keyId: string, pendingDays: number): Promise<KeyInfo>;
  /** The key is disabled afterwards; KMS.1501 where nothing is scheduled. */
  cancelDeletion(projectId: string, keyId: string): Promise<KeyInfo>;
  /** A fresh data key of 1 to 1024 bytes and the form of it that may be kept; KMS.1901 for another length, KMS.0208 for a context too long. */
  createDataKey(
    projectId: string,
    keyId: string,
    request: { lengthBytes: number; context: EncryptionContext },
  ): Promise<{ plaintext: Buffer; wrapped: Buffer }>;
  /** Wraps a data key that was made elsewhere, 1 to 1024 bytes; refused as `createDataKey` refuses. */
  encryptDataKey(
    projectId: string,
    keyId: string,
    request: { plaintext: Uint8Array; context: EncryptionContext },
  ): Promise<Buffer>;
  /** KMS.2201 unless this key wrapped exactly this under exactly this context. */
  decryptDataKey(
    projectId: string,
    keyId: string,
    request: { wrapped: Uint8Array; context: EncryptionContext },
  ): Promise<Buffer>;
}
