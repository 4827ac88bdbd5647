export { type AccessKey, findAccessKey, newAccessKey } from './access-keys';
export {
  Authenticator,
  type AuthenticatorOptions,
  type PasswordCredentials,
  type PasswordResult,
} from './authenticate';
export { type Caller, permits, type Principal } from './caller';
export { FailureLock } from './failure-lock';
export { type IdentitySeed, platformSeed, seedIdentity, type SeededIdentity } from './identity-seed';
export { hashPassword, verifyPassword } from './password';
export { openSecret, parseRootKey, type RootKey, sealSecret } from './sealed-secret';
export { type RequestSigner, type RequestToSign, signRequest } from './sign-request';
export {
  findSystemPolicy,
  permissionsOf,
  type PolicyDocument,
  SYSTEM_POLICIES,
  type SystemPolicy,
  UnknownPolicyError,
} from './system-policies';
export { issueToken, revokeToken, type TokenRequest, type TokenSession, validateToken } from './token';
export {
  type BodyDigest,
  type KeyLookup,
  type KeyRecord,
  type SignedRequest,
  verifySignature,
  type VerifyOptions,
} from './verify-signature';
