import type { KeyDocument } from '@ims/contract';
import { KEY_STATES, type KeyInfo } from '@ims/keys';

// Kind of a key that a user made, and the only kind there is (backends C2).
const KEY_TYPE = '1';

/** A key as the vendor shows it: all texts, times in milliseconds (backends C2). */
export const toKeyDocument = (key: KeyInfo, region: string): KeyDocument => ({
  key_id: key.id,
  domain_id: key.accountId,
  key_alias: key.alias,
  realm: region,
  key_description: key.description,
  key_spec: 'AES_256',
  key_usage: 'ENCRYPT_DECRYPT',
  creation_date: String(key.createdAt.getTime()),
  scheduled_deletion_date: key.deletionAt === null ? '' : String(key.deletionAt.getTime()),
  key_state: KEY_STATES[key.state],
  default_key_flag: '0',
  key_type: KEY_TYPE,
  expiration_time: '',
  origin: 'kms',
  key_rotation_enabled: 'false',
  sys_enterprise_project_id: key.enterpriseProjectId,
});
