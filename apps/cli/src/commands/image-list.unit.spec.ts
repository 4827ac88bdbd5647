import type { CloudImage } from '@ims/contract';
import { systemOf } from './image-list';

// What of an image the column shows; the rest has no part in it.
const image = (facts: Partial<CloudImage>): CloudImage => ({ __os_type: 'Linux', ...facts }) as CloudImage;

describe(systemOf.name, () => {
  it.each<[string, Partial<CloudImage>]>([
    ['Linux', {}],
    ['Other_Linux (64_bit)', { __os_version: 'Other_Linux (64_bit)' }],
    ['Debian 12', { __os_version: 'Debian 12', __os_support: 'unknown', __os_eos: 'Unknown' }],
    ['EulerOS 2.12', { __os_version: 'EulerOS 2.12', __os_support: 'full', __os_eos: '2028-12-31' }],
    [
      'EulerOS 2.3 (support ended 2022-12-31)',
      { __os_version: 'EulerOS 2.3', __os_support: 'ended', __os_eos: '2022-12-31' },
    ],
    [
      'SLES 15 SP1 (support ended 2024-06-31)',
      { __os_version: 'SLES 15 SP1', __os_support: 'ended', __os_eos: '2021-01-31', __os_eos_extended: '2024-06-31' },
    ],
    [
      'SLES 12 SP5 (extended support until 2027-10-31)',
      {
        __os_version: 'SLES 12 SP5',
        __os_support: 'extended',
        __os_eos: '2024-10-31',
        __os_eos_extended: '2027-10-31',
      },
    ],
  ])('%s (OS-01, OS-04)', (shown, facts) => expect(systemOf(image(facts))).toBe(shown));
});
