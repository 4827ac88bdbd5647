import { S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import type { SourceDescriptor } from './bucket.port';

export type S3Endpoint = Omit<Extract<SourceDescriptor, { driver: 's3' }>, 'driver' | 'file'>;

/**
 * Checksums only where the operation demands them: OBS refuses the aws-chunked bodies that the SDK else sends, and ranged reads
 * carry no checksum to compare (backends D2).
 */
export function createS3Client(endpoint: S3Endpoint): S3Client {
  return new S3Client({
    endpoint: endpoint.endpoint,
    region: endpoint.region,
    forcePathStyle: endpoint.forcePathStyle,
    credentials: { accessKeyId: endpoint.accessKeyId, secretAccessKey: endpoint.secretAccessKey },
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    followRegionRedirects: false,
  });
}

/** HTTP status of a refusal by the server; `undefined` when it gave no answer. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}

/** Code of a refusal by the server (`NoSuchUpload`, …). */
export function codeOf(error: unknown): string | undefined {
  return error instanceof S3ServiceException ? error.name : undefined;
}
