import { z } from 'zod';
import { refusal } from './refusal';

const bad = (field: string) => ({ error: refusal('KMS.0308', field) });
const body = { error: refusal('KMS.0202', 'the body must be a JSON object') };
const text = (field: string, max: number) =>
  z.string(bad(`${field} must be a string`)).max(max, bad(`${field} is too long`));
// A UUID; what is no id at all is refused like an unknown one.
const keyId = z.string({ error: refusal('KMS.0205', 'key_id must be a string') }).max(256, {
  error: refusal('KMS.0205', 'key_id is too long'),
});
const sequence = text('sequence', 36).optional();
// As many characters as the longest data key has wrapped, and some more.
const hex = (field: string) =>
  z.string(bad(`${field} must be a string`)).regex(/^([0-9a-fA-F]{2}){1,4096}$/, bad(`${field} must be hexadecimal`));
const context = z
  .record(z.string(), z.string({ error: refusal('KMS.0208', 'a value of encryption_context must be a string') }), {
    error: refusal('KMS.0208', 'encryption_context must be an object of strings'),
  })
  .optional();
/** Numbers of this service are texts. */
const digits = (field: string) =>
  z.coerce.string(bad(`${field} must be a number`)).regex(/^\d{1,6}$/, bad(`${field} must be a number`));

/** Body of POST …/kms/create-key (backends C1). */
export const createKeyRequest = z.object(
  {
    key_alias: z.string({ error: refusal('KMS.0204', 'key_alias is missing') }),
    key_description: text('key_description', 255).optional(),
    key_spec: z.literal('AES_256', bad('key_spec must be AES_256')).optional(),
    key_usage: z.literal('ENCRYPT_DECRYPT', bad('key_usage must be ENCRYPT_DECRYPT')).optional(),
    origin: z.literal('kms', bad('origin must be kms: material is not imported')).optional(),
    enterprise_project_id: text('enterprise_project_id', 36).optional(),
    sequence,
  },
  body,
);
export type CreateKeyRequest = z.infer<typeof createKeyRequest>;

/** Body of the calls that name a key and nothing else. */
export const keyRequest = z.object({ key_id: keyId, sequence }, body);
export type KeyRequest = z.infer<typeof keyRequest>;

/** Body of POST …/kms/list-keys. */
export const listKeysRequest = z.object(
  {
    limit: digits('limit').optional(),
    marker: z.string(bad('marker must be a string')).max(64, bad('marker is too long')).optional(),
    key_state: z.enum(['1', '2', '3', '4', '5'], bad('key_state must be 1 to 5')).optional(),
    sequence,
  },
  body,
);
export type ListKeysRequest = z.infer<typeof listKeysRequest>;

/** Body of POST …/kms/schedule-key-deletion. */
export const scheduleKeyDeletionRequest = z.object(
  {
    key_id: keyId,
    pending_days: z.coerce.string({ error: refusal('KMS.1401', 'pending_days must be a number') }),
    sequence,
  },
  body,
);
export type ScheduleKeyDeletionRequest = z.infer<typeof scheduleKeyDeletionRequest>;

/** Body of POST …/kms/create-datakey and …/create-datakey-without-plaintext. */
export const createDataKeyRequest = z.object(
  {
    key_id: keyId,
    key_spec: z.enum(['AES_256', 'AES_128', ''], bad('key_spec must be AES_256 or AES_128')).optional(),
    datakey_length: digits('datakey_length').or(z.literal('')).optional(),
    encryption_context: context,
    sequence,
  },
  body,
);
export type CreateDataKeyRequest = z.infer<typeof createDataKeyRequest>;

/** Body of POST …/kms/encrypt-datakey: the data key and behind it its SHA-256. */
export const encryptDataKeyRequest = z.object(
  {
    key_id: keyId,
    plain_text: hex('plain_text'),
    datakey_plain_length: digits('datakey_plain_length'),
    encryption_context: context,
    sequence,
  },
  body,
);
export type EncryptDataKeyRequest = z.infer<typeof encryptDataKeyRequest>;

/** Body of POST …/kms/decrypt-datakey. */
export const decryptDataKeyRequest = z.object(
  {
    key_id: keyId,
    cipher_text: hex('cipher_text'),
    datakey_cipher_length: digits('datakey_cipher_length'),
    encryption_context: context,
    sequence,
  },
  body,
);
export type DecryptDataKeyRequest = z.infer<typeof decryptDataKeyRequest>;

/** A key as it is shown (backends C2): all texts, times in milliseconds. */
export const keyDocument = z.object({
  key_id: z.string(),
  domain_id: z.string(),
  key_alias: z.string(),
  realm: z.string(),
  key_description: z.string(),
  key_spec: z.string(),
  key_usage: z.string(),
  creation_date: z.string(),
  scheduled_deletion_date: z.string(),
  key_state: z.string(),
  default_key_flag: z.string(),
  key_type: z.string(),
  expiration_time: z.string(),
  origin: z.string(),
  key_rotation_enabled: z.string(),
  sys_enterprise_project_id: z.string(),
});
export type KeyDocument = z.infer<typeof keyDocument>;

export const createdKey = z.object({ key_info: z.object({ key_id: z.string(), domain_id: z.string() }) });
export const describedKey = z.object({ key_info: keyDocument });
export const listedKeys = z.object({
  keys: z.array(z.string()),
  key_details: z.array(keyDocument),
  next_marker: z.string(),
  truncated: z.string(),
});
export const switchedKey = z.object({ key_info: z.object({ key_id: z.string(), key_state: z.string() }) });
export const keyDeletion = z.object({ key_id: z.string(), key_state: z.string() });
export const createdDataKey = z.object({ key_id: z.string(), plain_text: z.string(), cipher_text: z.string() });
export const keptDataKey = createdDataKey.omit({ plain_text: true });
export const encryptedDataKey = z.object({ key_id: z.string(), cipher_text: z.string(), datakey_length: z.string() });
export const decryptedDataKey = z.object({
  data_key: z.string(),
  datakey_length: z.string(),
  datakey_dgst: z.string(),
});
