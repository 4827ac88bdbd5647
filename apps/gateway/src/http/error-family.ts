import { STATUS_CODES } from 'node:http';

/**
 * Whose error shape a path has (ims-api 1.5, iam 8). Clients of one family crash on another's: glanceclient on flat JSON,
 * the vendor's SDKs on nothing but text.
 */
export type ErrorFamily = 'extension' | 'glance' | 'identity' | 'backup' | 'audit' | 'keys';

const GLANCE = /^\/(?:v2\/(?:images|schemas|info|tasks|metadefs|cache)|v1(?:\.1)?\/images)(?:\/|$)/;
/** Version discovery: `/`, `/versions`, and anything that looks like one version. */
const DISCOVERY = /^\/(?:versions|v\d+(?:\.\d+)?)?\/?$/;
/** CBR under a version that it shares with the identity service, and CSBS (backends E1, E2). */
const BACKUP = /^\/(?:v3\/[^/]+\/(?:backups|vaults|checkpoints)|v1\/[^/]+\/checkpoint_items)(?:\/|$)/;
/** The audit trail: the vendor's list of traces, and the replay of events (cts-api 1, 8.5). */
const AUDIT = /^\/(?:v3\/[^/]+\/traces|v1\/[^/]+\/events)(?:\/|$)/;
/** Key management (backends C1, C2). */
const KEYS = /^\/v1\.0\/[^/]+\/kms(?:\/|$)/;
const IDENTITY = /^\/v3(?:\.0)?(?:\/|$)/;

export function errorFamilyOf(routedPath: string): ErrorFamily {
  if (BACKUP.test(routedPath)) return 'backup';
  if (AUDIT.test(routedPath)) return 'audit';
  if (KEYS.test(routedPath)) return 'keys';
  if (IDENTITY.test(routedPath)) return 'identity';
  if (GLANCE.test(routedPath) || DISCOVERY.test(routedPath)) return 'glance';
  return 'extension';
}

export interface ErrorBody {
  contentType: string;
  body: string;
}

const escapeHtml = (text: string): string =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');

const JSON_TYPE = 'application/json; charset=utf-8';

/** The error in the envelope of the family that was called. Codes of the gateway have the gateway's own envelope on extension paths. */
export function renderError(
  family: ErrorFamily,
  error: { status: number; code: string; message: string; requestId: string },
): ErrorBody {
  const { status, code, message, requestId } = error;
  const title = STATUS_CODES[status] ?? 'Error';
  switch (family) {
    case 'glance':
      return {
        contentType: 'text/html; charset=UTF-8',
        body: `<html>\n <head>\n  <title>${status} ${title}</title>\n </head>\n <body>\n  <h1>${status} ${title}</h1>\n  ${escapeHtml(message)} (${code})<br /><br />\n </body>\n</html>`,
      };
    case 'keys':
      return {
        contentType: JSON_TYPE,
        body: JSON.stringify(
          code.startsWith('APIGW.')
            ? { error_code: code, error_msg: message, request_id: requestId }
            : { error: { error_code: code, error_msg: message } },
        ),
      };
    case 'identity':
      return { contentType: JSON_TYPE, body: JSON.stringify({ error: { code: status, message, title } }) };
    case 'backup':
      return {
        contentType: JSON_TYPE,
        body: JSON.stringify({ error_code: code, error_msg: message, request_id: requestId }),
      };
    case 'audit':
      return { contentType: JSON_TYPE, body: JSON.stringify({ error_code: code, error_msg: message }) };
    case 'extension':
      return {
        contentType: JSON_TYPE,
        body: JSON.stringify(
          code.startsWith('APIGW.')
            ? { error_code: code, error_msg: message, request_id: requestId }
            : { error: { code, message } },
        ),
      };
  }
  return family satisfies never;
}
