import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { ImsError, isErrorCode } from '@ims/contract';
import { parseJsonBody } from './json-body';

interface Issue {
  readonly message: string;
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
}

const CODED = /^([A-Za-z]+\.\d{4})(?:: ([\s\S]*))?$/;

const pathOf = (issue: Issue): string =>
  (issue.path ?? []).map((step) => String(typeof step === 'object' ? step.key : step)).join('.');

/** The documented error behind the first issue: schemas put its code at the head of their messages (`refusal`). */
export function refusalOf(issues: readonly Issue[]): ImsError {
  const [first] = issues;
  if (first === undefined) return new ImsError('IMG.0001');
  const [, code, detail] = CODED.exec(first.message) ?? [];
  if (code !== undefined && isErrorCode(code)) return new ImsError(code, detail);
  const path = pathOf(first);
  // A key of the caller's own may be as long as the body; only its head is repeated.
  return new ImsError('IMG.0001', path === '' ? first.message : `${path.slice(0, 128)}: ${first.message}`);
}

/**
 * Turns wire input into typed values: bodies are parsed only here, after the guard has seen the raw bytes, and everything
 * with a schema leaves as the schema's output. Parameters without a schema pass as they are.
 */
@Injectable()
export class WirePipe implements PipeTransform {
  async transform(value: unknown, { type, schema }: ArgumentMetadata): Promise<unknown> {
    if (schema === undefined) return value;
    const input = type === 'body' ? parseJsonBody(Buffer.isBuffer(value) ? value : Buffer.alloc(0)) : value;
    const result = await schema['~standard'].validate(input);
    if (result.issues === undefined) return result.value;
    if (type === 'body' && input === undefined) throw new ImsError('IMG.0007');
    throw refusalOf(result.issues);
  }
}
