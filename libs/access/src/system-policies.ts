/** A policy as documents write it (iam 11). */
export interface PolicyDocument {
  Version: '1.0' | '1.1';
  Statement: readonly { Effect: 'Allow'; Action: readonly string[] }[];
  /** Of roles alone: what must be granted beside it, or it has no effect (iam 12). */
  Depends?: readonly { catalog: string; display_name: string }[];
}

/** A role or policy that comes with the service (iam 14, overview tables 10-1 and 10-2). */
export interface SystemPolicy {
  /** As it is shown. */
  name: string;
  /** As clients name it. */
  internalName: string;
  /** What it was called before. */
  formerName?: string;
  kind: 'role' | 'policy';
  document: PolicyDocument;
}

const allow = (...actions: string[]): Pick<PolicyDocument, 'Statement'> => ({
  Statement: [{ Effect: 'Allow', Action: actions }],
});

/** PER-08, PER-09, PER-10; the documents of iam 14.2. */
export const SYSTEM_POLICIES: readonly SystemPolicy[] = [
  {
    name: 'IMS FullAccess',
    internalName: 'system_all_16',
    formerName: 'IMS Admin',
    kind: 'policy',
    document: { Version: '1.1', ...allow('ims:*:*', 'ecs:*:list', 'ecs:*:get', 'evs:*:get') },
  },
  {
    name: 'IMS ReadOnlyAccess',
    internalName: 'system_all_22',
    formerName: 'IMS Viewer',
    kind: 'policy',
    document: { Version: '1.1', ...allow('ims:*:get*', 'ims:*:list*') },
  },
  {
    name: 'IMS Administrator',
    internalName: 'ims_adm',
    kind: 'role',
    document: {
      Version: '1.0',
      ...allow('IMS:*:*'),
      Depends: [{ catalog: 'BASE', display_name: 'Tenant Administrator' }],
    },
  },
  {
    name: 'Server Administrator',
    internalName: 'server_adm',
    kind: 'role',
    document: {
      Version: '1.0',
      ...allow(
        ...['create', 'delete', 'list', 'get', 'update', 'upload'].map((verb) => `ims:images:${verb}`),
        ...['serverImages', 'dataImages', 'wholeImages'].map((kind) => `ims:${kind}:create`),
      ),
      Depends: [{ catalog: 'IMS', display_name: 'IMS Administrator' }],
    },
  },
  {
    name: 'Tenant Administrator',
    internalName: 'te_admin',
    kind: 'role',
    // Everything but the management of identities: the services that this gateway answers for, by name.
    document: {
      Version: '1.0',
      ...allow(...['ims', 'cts', 'cbr', 'csbs', 'ecs', 'evs', 'bms', 'kms', 'obs'].map((service) => `${service}:*:*`)),
    },
  },
  {
    name: 'Tenant Guest',
    internalName: 'readonly',
    kind: 'role',
    document: { Version: '1.0', ...allow('*:*:get*', '*:*:list*') },
  },
];

/** By the name that is shown, that clients use, or that it had before. */
export const findSystemPolicy = (name: string): SystemPolicy | undefined =>
  SYSTEM_POLICIES.find((policy) => [policy.name, policy.internalName, policy.formerName].includes(name));

/** Nobody knows a role or policy of this name. */
export class UnknownPolicyError extends Error {
  override readonly name = 'UnknownPolicyError';

  constructor(policy: string) {
    super(
      `there is no role or policy ${JSON.stringify(policy)}; there are ${SYSTEM_POLICIES.map(({ name }) => name).join(', ')}`,
    );
  }
}

/**
 * What those who are granted these roles and policies may do, as `permits` reads it. A role whose dependency is not granted too has no effect (iam 12),
 * and one that depends on such a role has none either.
 *
 * @throws UnknownPolicyError
 */
export function permissionsOf(names: readonly string[]): string[] {
  const granted = names.map((name) => {
    const policy = findSystemPolicy(name);
    if (policy === undefined) throw new UnknownPolicyError(name);
    return policy;
  });
  const isEffective = ({ document }: SystemPolicy): boolean =>
    (document.Depends ?? []).every(({ display_name: needed }) => {
      const found = granted.find(({ name }) => name === needed);
      return found !== undefined && isEffective(found);
    });
  const actions = granted
    .filter((policy) => isEffective(policy))
    .flatMap(({ document }) => document.Statement.flatMap(({ Action }) => Action));
  return [...new Set(actions)];
}
