import { projectId } from '@ims/contract';
import { checkQuota, decideSetLimit, DEFAULT_QUOTA, QUOTA_BOUNDS } from './quota.rules';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const set = (limit: number, before: number | null = null) =>
  decideSetLimit(
    { limit: before, used: 9, reserved: 0 },
    { projectId: PROJECT, resource: 'image', limit, requestId: 'r1' },
  );

describe(checkQuota.name, () => {
  it.each([
    [null, 49, 0, true],
    [null, 50, 0, false],
    [null, 25, 25, false],
    [51, 50, 0, true],
    [7, 6, 0, true],
    [7, 9, 0, false],
  ])('with a limit of %s, %i used and %i reserved: one more fits is %s (CRE-23)', (limit, used, reserved, fits) => {
    const check = () => checkQuota({ limit, used, reserved }, DEFAULT_QUOTA.image, 'IMG.0015');
    if (fits) expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ code: 'IMG.0015' }));
  });
});

describe(decideSetLimit.name, () => {
  it.each([QUOTA_BOUNDS.min, 8, QUOTA_BOUNDS.max])('sets %i, also below what there is (CRE-23)', (limit) => {
    expect(set(limit)).toEqual([
      {
        type: 'quota.limit-set',
        stream: `quota:${PROJECT}:image`,
        key: 'limit:r1',
        data: { resource: 'image', limit },
      },
    ]);
  });

  it('changes nothing that is so already', () => {
    expect(set(60, 60)).toEqual([]);
  });

  it.each([QUOTA_BOUNDS.min - 1, QUOTA_BOUNDS.max + 1, 1.5, Number.NaN])('refuses %d', (limit) => {
    expect(() => set(limit)).toThrow(expect.objectContaining({ code: 'IMG.0001' }));
  });
});
