import { NeighbourError, NEIGHBOUR_REFUSALS, type NeighbourRefusal } from '@ims/neighbours';
import { StagedFileBusyError } from '@ims/staging';
import { toFailure } from './failure';

describe(toFailure.name, () => {
  it.each<[NeighbourRefusal, string]>([
    ['BUSY', 'IMG.0010'],
    ['WRONG_STATE', 'IMG.0022'],
    ['FROZEN', 'IMG.0008'],
    ['NOT_FOUND', 'IMG.0121'],
    ['IN_USE', 'IMG.0139'],
    ['VAULT_FULL', 'IMG.0182'],
  ])('calls %s of a neighbour %s', (refusal, type) => {
    expect(toFailure(new NeighbourError(refusal, 'disk 1'), 9)).toMatchObject({ type, nonRetryable: true });
  });

  it('has a code for every refusal, and shows what was refused', () => {
    // The keys of the list of refusals are the refusals.
    for (const refusal of Object.keys(NEIGHBOUR_REFUSALS) as NeighbourRefusal[]) {
      const failed = toFailure(new NeighbourError(refusal, 'disk 1'), 9);
      expect(failed).toMatchObject({ type: expect.stringMatching(/^IMG\.\d{4}$/) as string });
      expect(failed.message).toContain('disk 1');
    }
  });

  it('waits a moment for a disk that is open elsewhere, and for nothing else (CRE-03)', () => {
    const attempts = [1, 2, 3, 4].map((attempt) => toFailure(new NeighbourError('BUSY', 'disk 1'), attempt));
    expect(attempts.map((failed) => 'nonRetryable' in failed && failed.nonRetryable)).toEqual([
      false,
      false,
      false,
      true,
    ]);
    expect(toFailure(new NeighbourError('WRONG_STATE', 'disk 1'), 1)).toMatchObject({ nonRetryable: true });
  });

  it('waits as long as it takes for a staged file that another worker, perhaps a paused one, is writing', () => {
    expect(toFailure(new StagedFileBusyError('web-1'), 100)).toMatchObject({ type: 'IMG.0061', nonRetryable: false });
  });
});
