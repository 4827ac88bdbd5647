import { hash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import {
  type CreateDataKeyRequest,
  type CreateKeyRequest,
  type DecryptDataKeyRequest,
  type EncryptDataKeyRequest,
  ImsError,
  type KeyRequest,
  type ListKeysRequest,
  type ScheduleKeyDeletionRequest,
} from '@ims/contract';
import { KEY_STATES, type KeyInfo, type KeyService, type KeyState } from '@ims/keys';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { KEYS } from '../http/injection-tokens';
import { toKeyDocument } from './key.wire';

// backends C1.
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const SPEC_BITS = { AES_256: 256, AES_128: 128 } as const;
const DIGEST_BYTES = 32;

/** The calls of key management, in the vendor's words (backends C1). */
@Injectable()
export class KeysService {
  constructor(
    @Inject(KEYS) private readonly keys: KeyService,
    private readonly config: GatewayConfig,
  ) {}

  async create(caller: Call, request: CreateKeyRequest) {
    const key = await this.keys.createKey({
      projectId: caller.projectId,
      accountId: caller.accountId,
      alias: request.key_alias,
      ...(request.key_description === undefined ? {} : { description: request.key_description }),
      ...(request.enterprise_project_id === undefined ? {} : { enterpriseProjectId: request.enterprise_project_id }),
    });
    return { key_info: { key_id: key.id, domain_id: key.accountId } };
  }

  async describe(caller: Call, { key_id: id }: KeyRequest) {
    return { key_info: toKeyDocument(await this.keys.describeKey(caller.projectId, id), this.config.region) };
  }

  async list(caller: Call, request: ListKeysRequest) {
    const limit = Number(request.limit ?? DEFAULT_LIMIT);
    if (limit < 1 || limit > MAX_LIMIT) throw new ImsError('KMS.0308', `limit must be 1 to ${MAX_LIMIT}`);
    const states = Object.entries(KEY_STATES).filter(([, code]) => code === request.key_state);
    const state = states.map(([name]) => name).find(isKeyState);
    // States that no key of ours is ever in.
    if (request.key_state !== undefined && state === undefined) return pageOf([], false, this.config.region);
    const { keys, isTruncated } = await this.keys.listKeys({
      projectId: caller.projectId,
      limit,
      ...(state === undefined ? {} : { state }),
      ...(request.marker === undefined || request.marker === '' ? {} : { after: request.marker }),
    });
    return pageOf(keys, isTruncated, this.config.region);
  }

  async enable(caller: Call, { key_id: id }: KeyRequest) {
    return switched(await this.keys.enableKey(caller.projectId, id));
  }

  async disable(caller: Call, { key_id: id }: KeyRequest) {
    return switched(await this.keys.disableKey(caller.projectId, id));
  }

  async scheduleDeletion(caller: Call, { key_id: id, pending_days: days }: ScheduleKeyDeletionRequest) {
    const key = await this.keys.scheduleDeletion(caller.projectId, id, /^\d{1,5}$/.test(days) ? Number(days) : NaN);
    return switched(key).key_info;
  }

  async cancelDeletion(caller: Call, { key_id: id }: KeyRequest) {
    return switched(await this.keys.cancelDeletion(caller.projectId, id)).key_info;
  }

  async createDataKey(caller: Call, request: CreateDataKeyRequest) {
    const { plaintext, wrapped } = await this.keys.createDataKey(caller.projectId, request.key_id, {
      lengthBytes: lengthOf(request),
      context: request.encryption_context ?? {},
    });
    try {
      return {
        key_id: request.key_id,
        plain_text: plaintext.toString('hex'),
        cipher_text: wrapped.toString('hex'),
      };
    } finally {
      plaintext.fill(0);
    }
  }

  async createDataKeyWithoutPlaintext(caller: Call, request: CreateDataKeyRequest) {
    const { key_id, cipher_text } = await this.createDataKey(caller, request);
    return { key_id, cipher_text };
  }

  async encryptDataKey(caller: Call, request: EncryptDataKeyRequest) {
    const bytes = Buffer.from(request.plain_text, 'hex');
    const length = Number(request.datakey_plain_length);
    const plaintext = bytes.subarray(0, length);
    if (length < 1 || bytes.length !== length + DIGEST_BYTES)
      throw new ImsError('KMS.1901', 'datakey_plain_length is not that of plain_text');
    if (!hash('sha256', plaintext, 'buffer').equals(bytes.subarray(length))) throw new ImsError('KMS.2103');
    const wrapped = await this.keys.encryptDataKey(caller.projectId, request.key_id, {
      plaintext,
      context: request.encryption_context ?? {},
    });
    return {
      key_id: request.key_id,
      cipher_text: wrapped.toString('hex'),
      datakey_length: request.datakey_plain_length,
    };
  }

  async decryptDataKey(caller: Call, request: DecryptDataKeyRequest) {
    const wrapped = Buffer.from(request.cipher_text, 'hex');
    const plain = await this.keys.decryptDataKey(caller.projectId, request.key_id, {
      wrapped,
      context: request.encryption_context ?? {},
    });
    if (Number(request.datakey_cipher_length) !== plain.length)
      throw new ImsError('KMS.1901', 'datakey_cipher_length is not that of the data key');
    try {
      return {
        data_key: plain.toString('hex'),
        datakey_length: String(plain.length),
        datakey_dgst: hash('sha256', plain, 'hex'),
      };
    } finally {
      plain.fill(0);
    }
  }
}

const isKeyState = (name: string): name is KeyState => Object.hasOwn(KEY_STATES, name);

const switched = (key: KeyInfo) => ({ key_info: { key_id: key.id, key_state: KEY_STATES[key.state] } });

const pageOf = (keys: readonly KeyInfo[], isTruncated: boolean, region: string) => ({
  keys: keys.map(({ id }) => id),
  key_details: keys.map((key) => toKeyDocument(key, region)),
  next_marker: isTruncated ? (keys.at(-1)?.id ?? '') : '',
  truncated: String(isTruncated),
});

/** Both given: the length wins; none, or both empty: 256 bits (backends C1). */
function lengthOf({ key_spec: spec, datakey_length: length }: CreateDataKeyRequest): number {
  const bits = length === undefined || length === '' ? SPEC_BITS[spec || 'AES_256'] : Number(length);
  if (bits % 8 !== 0) throw new ImsError('KMS.1901', 'datakey_length must be a multiple of 8');
  return bits / 8;
}
