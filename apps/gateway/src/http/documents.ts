import { applyDecorators, HttpCode, SetMetadata } from '@nestjs/common';
import { ApiOperation, ApiResponse } from '@nestjs/swagger';
import type { z } from 'zod';

export const OPERATION = 'ims:operation';

export interface Operation {
  /** Name of the operation in the vendor's SDKs, or ours in the same style. */
  operation: string;
  summary: string;
  /** API version the call belongs to. */
  since: string;
  /** Status of success, 200 unless said otherwise (ims-api 1.6). */
  status?: number;
  answer?: z.ZodType;
  /** Media type of an answer without a schema. */
  produces?: string;
}

/** What the published document says about a route; also sets the status of success. */
export function Documents(operation: Operation): MethodDecorator {
  const { status = 200, summary, since, answer, produces } = operation;
  return applyDecorators(
    SetMetadata(OPERATION, operation),
    HttpCode(status),
    ApiOperation({ operationId: operation.operation, summary, description: `Since ${since}.` }),
    ApiResponse({
      status,
      description: summary,
      ...(answer === undefined ? {} : { standardSchema: answer }),
      ...(produces === undefined ? {} : { content: { [produces]: { schema: { type: 'string', format: 'binary' } } } }),
    }),
  );
}
