import type { ListOsVersionsQuery, OsVersionList } from '@ims/contract';
import { osPlatforms } from '@ims/domain';

/** Systems by platform as GET /v1/cloudimages/os_version answers them (ims-api 4.4). */
export const osVersionsOf = ({ tag = [] }: ListOsVersionsQuery): OsVersionList =>
  osPlatforms(tag).map(({ platform, versions }) => ({
    platform,
    version_list: versions.map(({ name, osBit, osType }) => ({
      platform,
      os_version_key: name,
      os_version: name,
      os_bit: Number(osBit),
      os_type: osType,
    })),
  }));
