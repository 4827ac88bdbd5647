import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { ERRORS, type ErrorSpec } from '@ims/contract';
import { type ErrorFamily, errorFamilyOf } from './http/error-family';
import { accessText, type RouteTable } from './http/route-table';

type PathItem = OpenAPIObject['paths'][string];
type Refusal = NonNullable<NonNullable<PathItem['get']>['responses'][string]>;

const FILE_PATH = '/v2/images/{image_id}/file';
const FILE_ANSWERS = {
  204: { description: 'The image has no bytes yet' },
  206: {
    description: 'The range that was asked for',
    content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
  },
  416: { description: 'No byte of the file is in the range' },
} as const;

const text = { type: 'string' };
const json = (
  description: string,
  properties: Record<string, { type: string; properties?: Record<string, { type: string }> }>,
): Refusal => ({
  description,
  content: { 'application/json': { schema: { type: 'object', properties } } },
});

/** Shape of a refusal by the family of the path (docs/reference/errors.md). */
const REFUSALS: Record<ErrorFamily, Refusal> = {
  extension: json('Refusal; codes of the gateway have error_code, error_msg and request_id instead', {
    error: { type: 'object', properties: { code: text, message: text } },
    error_code: text,
    error_msg: text,
    request_id: text,
  }),
  identity: json('Refusal', {
    error: { type: 'object', properties: { code: { type: 'integer' }, message: text, title: text } },
  }),
  audit: json('Refusal', { error_code: text, error_msg: text }),
  backup: json('Refusal', { error_code: text, error_msg: text, request_id: text }),
  keys: json('Refusal', { error: { type: 'object', properties: { error_code: text, error_msg: text } } }),
  glance: { description: 'Refusal', content: { 'text/html': { schema: text } } },
};

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description: 'The same key with the same call gives the same answer and does nothing again, for a day.',
  schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
} as const;

const METHODS = ['get', 'put', 'post', 'delete', 'head', 'patch', 'options'] as const;

/** The published document: everything in it follows from the routes and their wire schemas, permissions from the route table. */
export function openApiDocument(app: NestFastifyApplication, table: RouteTable): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle('Image Management Service')
    .setDescription(
      'Virtual-machine images: create, import, list, download and delete them; every long job is durable and can be watched.',
    )
    .setVersion('2.2')
    .addApiKey(
      { type: 'apiKey', in: 'header', name: 'X-Auth-Token', description: 'Token of POST /v3/auth/tokens' },
      'token',
    )
    .addApiKey(
      {
        type: 'apiKey',
        in: 'header',
        name: 'Authorization',
        description: 'SDK-HMAC-SHA256 signature, with X-Sdk-Date',
      },
      'signature',
    )
    .build();
  const document = SwaggerModule.createDocument(app, config);
  for (const { method, path, access, idempotency } of table.routes) {
    const item: PathItem | undefined = document.paths[path];
    const operation = METHODS.filter((known) => known === method.toLowerCase()).map((known) => item?.[known])[0];
    if (operation === undefined) throw new Error(`${method} ${path} is not in the generated document`);
    operation.security = access.kind === 'public' ? [] : [{ token: [] }, { signature: [] }];
    operation.description = `${operation.description ?? ''} Permission: ${accessText(access)}.`.trim();
    operation.responses.default = REFUSALS[errorFamilyOf(path)];
    if (idempotency !== undefined && idempotency.kind !== 'none')
      operation.parameters = [...(operation.parameters ?? []), IDEMPOTENCY_KEY];
    // The only bodies of DELETE are options (ims-api 12.6).
    if (method === 'DELETE' && operation.requestBody !== undefined && 'content' in operation.requestBody)
      operation.requestBody.required = false;
    if (path === FILE_PATH) Object.assign(operation.responses, FILE_ANSWERS);
  }
  // The framework makes one id for all paths of a handler; ids must be unique.
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (operation?.operationId !== undefined && path.startsWith('/v1/{project_id}/cloudimages/quota'))
        operation.operationId += 'OfProject';
    }
  }
  return document;
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

/** `docs/reference/errors.md`. */
export function renderErrors(errors: Readonly<Record<string, ErrorSpec>> = ERRORS): string {
  const retry = { no: 'no', yes: 'at once', after: 'later' } as const;
  const rows = Object.entries(errors).map(
    ([code, spec]) =>
      `| \`${code}\` | ${spec.status} | ${cell(spec.message)} | ${retry[spec.retry]} | ${cell(spec.action)} |`,
  );
  return [
    '# Errors',
    '',
    'Reference. Every refusal of the service has one of these codes; clients compare codes, never texts. The message may be followed by a colon and what exactly was wrong.',
    'Extension paths answer `{"error":{"code","message"}}`, codes of the gateway `{"error_code","error_msg","request_id"}`, identity paths `{"error":{"code","message","title"}}`,',
    'the audit trail `{"error_code","error_msg"}`, OpenStack paths a small HTML page with the status. Every answer has `X-Request-Id`.',
    '',
    '| code | status | message | the same call again | what to do |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
