import { Injectable } from '@nestjs/common';
import { type ApiVersion, type ApiVersions, ImsError } from '@ims/contract';
import { GatewayConfig } from '../config';

const VERSIONS = [
  ['v2.2', 'CURRENT', 'v2'],
  ['v2.1', 'SUPPORTED', 'v2'],
  ['v2.0', 'SUPPORTED', 'v2'],
  ['v1.1', 'DEPRECATED', 'v1'],
  ['v1.0', 'DEPRECATED', 'v1'],
] as const;

/** Version discovery (ims-api 13.2). */
@Injectable()
export class VersionsService {
  constructor(private readonly config: GatewayConfig) {}

  list(): ApiVersions {
    return {
      versions: VERSIONS.map(([id, status, path]): ApiVersion => ({
        status,
        id,
        links: [{ href: `${this.config.publicUrl}/${path}/`, rel: 'self' }],
      })),
    };
  }

  /** The one version that was asked for. `v1` names the newest of its line; `v2` has its own route and lists all. */
  show(version: string): ApiVersions {
    const wanted = version === 'v1' ? 'v1.1' : version;
    const versions = this.list().versions.filter(({ id }) => id === wanted);
    if (versions.length === 0) throw new ImsError('APIGW.0101');
    return { versions };
  }
}
