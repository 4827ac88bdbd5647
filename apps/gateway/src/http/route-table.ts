import { RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { ROUTE_ACCESS, type RouteAccess } from '../access/permits';
import { type Idempotency, idempotencyOf } from '../idempotency/idempotent';
import { OPERATION, type Operation } from './documents';

export interface Route {
  operation: string;
  method: string;
  /** With parameters in braces, as the contract writes them. */
  path: string;
  access: RouteAccess;
  /** How the call takes an `Idempotency-Key`; `undefined` where the method does not. */
  idempotency: Idempotency | undefined;
}

const segments = (path: string): string[] => path.split('/').filter((segment) => segment !== '');
const pathsIn = (metadata: unknown): string[] =>
  (Array.isArray(metadata) ? metadata : [metadata]).map((path: unknown) => (typeof path === 'string' ? path : ''));

function routesOf(controller: Type): Route[] {
  const prefixes = pathsIn(Reflect.getMetadata(PATH_METADATA, controller));
  const prototype: unknown = controller.prototype;
  if (typeof prototype !== 'object' || prototype === null) return [];
  return Object.getOwnPropertyNames(prototype).flatMap((name) => {
    const handler: unknown = Object.getOwnPropertyDescriptor(prototype, name)?.value;
    if (typeof handler !== 'function') return [];
    const method: unknown = Reflect.getMetadata(METHOD_METADATA, handler);
    if (typeof method !== 'number') return [];
    const where = `${controller.name}.${name}`;
    // Written by our own decorators alone; SetMetadata keeps no type.
    const access = Reflect.getMetadata(ROUTE_ACCESS, handler) as RouteAccess | undefined;
    // As above.
    const operation = Reflect.getMetadata(OPERATION, handler) as Operation | undefined;
    if (access === undefined)
      throw new Error(
        `${where} declares neither @Permits(…), @ForProject(), @ForAccount() nor @Public(): a route without is refused at start`,
      );
    if (operation === undefined)
      throw new Error(`${where} has no @Documents(…): every route is in the published document`);
    return prefixes.flatMap((prefix) =>
      pathsIn(Reflect.getMetadata(PATH_METADATA, handler)).map((path) => ({
        operation: operation.operation,
        method: RequestMethod[method] ?? 'GET',
        path: `/${[...segments(prefix), ...segments(path)].map((segment) => segment.replace(/^:(\w+)$/, '{$1}')).join('/')}`,
        access,
        idempotency: RequestMethod[method] === 'POST' ? idempotencyOf(handler) : undefined,
      })),
    );
  });
}

/** Every route of the gateway, in the order of path and method. */
export class RouteTable {
  readonly routes: readonly Route[];
  readonly #patterns: readonly { pattern: RegExp; method: string }[];

  /** @throws Error naming the handler that does not declare who may call it: access is denied by default, already at start */
  constructor(controllers: readonly Type[]) {
    this.routes = controllers
      .flatMap(routesOf)
      .sort((a, b) => a.path.localeCompare(b.path, 'en') || a.method.localeCompare(b.method, 'en'));
    this.#patterns = this.routes.map(({ path, method }) => ({
      method,
      pattern: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '[^/]+')}/?$`),
    }));
  }

  /** Methods that the path has, for the answer to another one; empty for an unknown path. */
  methodsOf(routedPath: string): string[] {
    const methods = this.#patterns.filter(({ pattern }) => pattern.test(routedPath)).map(({ method }) => method);
    if (methods.includes('GET')) methods.push('HEAD');
    return [...new Set(methods)].sort();
  }
}

export const accessText = (access: RouteAccess): string => {
  switch (access.kind) {
    case 'public':
      return 'public';
    case 'account':
      return 'any account';
    case 'project':
      return 'any project';
    case 'permits':
      return access.actions.join(access.need === 'any' ? ' or ' : ' ');
  }
  return access satisfies never;
};

/** `routes.txt`: operation, method, path, permission. */
export function renderRoutes(table: RouteTable): string {
  const rows = table.routes.map(({ operation, method, path, access }) => [operation, method, path, accessText(access)]);
  const header = ['operation', 'method', 'path', 'permission'];
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return `${[header, ...rows].map(line).join('\n')}\n`;
}
