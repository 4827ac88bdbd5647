import { permits } from './caller';
import { findSystemPolicy, permissionsOf, SYSTEM_POLICIES, UnknownPolicyError } from './system-policies';

const may = (granted: string[], action: string): boolean => permits({ permissions: permissionsOf(granted) }, action);

describe(permissionsOf.name, () => {
  it('of FullAccess is every action of images, and looks at servers and disks (PER-10)', () => {
    expect(may(['IMS FullAccess'], 'ims:images:delete')).toBe(true);
    expect(may(['IMS FullAccess'], 'ims:wholeImages:create')).toBe(true);
    expect(may(['IMS FullAccess'], 'ecs:cloudServers:get')).toBe(true);
    expect(may(['IMS FullAccess'], 'ecs:cloudServers:delete')).toBe(false);
    expect(may(['IMS FullAccess'], 'kms:cmk:create')).toBe(false);
  });

  it('of ReadOnlyAccess is looking at images alone (PER-10)', () => {
    for (const action of ['ims:images:get', 'ims:images:list', 'ims:quotas:get'])
      expect(may(['IMS ReadOnlyAccess'], action)).toBe(true);
    for (const action of ['ims:images:update', 'ims:images:export', 'ims:images:share', 'ecs:cloudServers:get'])
      expect(may(['IMS ReadOnlyAccess'], action)).toBe(false);
  });

  it('of a role is nothing without the one that it depends on, however far (PER-08, PER-09)', () => {
    expect(permissionsOf(['IMS Administrator'])).toEqual([]);
    expect(permissionsOf(['Server Administrator', 'IMS Administrator'])).toEqual([]);
    expect(may(['IMS Administrator', 'Tenant Administrator'], 'ims:images:create')).toBe(true);
    const all = ['Tenant Administrator', 'IMS Administrator', 'Server Administrator'];
    expect(permissionsOf(all)).toContain('ims:serverImages:create');
  });

  it('knows every one by the three names that clients use', () => {
    expect(findSystemPolicy('system_all_16')?.name).toBe('IMS FullAccess');
    expect(findSystemPolicy('IMS Viewer')?.name).toBe('IMS ReadOnlyAccess');
    const names = SYSTEM_POLICIES.flatMap(({ name, internalName, formerName }) => [
      name,
      internalName,
      formerName ?? [],
    ]);
    expect(new Set(names.flat()).size).toBe(names.flat().length);
    expect(() => permissionsOf(['IMS FullAcess'])).toThrow(UnknownPolicyError);
  });
});
