import { Controller, Get } from '@nestjs/common';
import { Permits, Public } from '../access/permits';
import { CONTROLLERS } from '../gateway';
import { Documents } from './documents';
import { RouteTable } from './route-table';

@Controller('v2/things')
class OpenController {
  @Get()
  @Documents({ operation: 'ListThings', summary: 'Things', since: 'v2' })
  list(): string[] {
    return [];
  }
}

@Controller('v2/things')
class UndocumentedController {
  @Get()
  @Public()
  list(): string[] {
    return [];
  }
}

@Controller(['v1/things', 'v2/things'])
class GoodController {
  @Get(':thing_id/parts')
  @Permits('ims:images:get')
  @Documents({ operation: 'ListParts', summary: 'Parts', since: 'v2' })
  list(): string[] {
    return [];
  }
}

describe(RouteTable.name, () => {
  it('refuses a route that does not declare who may call it, by its name', () => {
    expect(() => new RouteTable([OpenController])).toThrow(/OpenController\.list declares neither/);
  });

  it('refuses a route that is not in the published document', () => {
    expect(() => new RouteTable([UndocumentedController])).toThrow(/UndocumentedController\.list has no @Documents/);
  });

  it('has few calls that take no Idempotency-Key, each with its reason', () => {
    const without = new RouteTable(CONTROLLERS).routes.filter(({ idempotency }) => idempotency?.kind === 'none');
    expect(without.map(({ operation }) => operation).sort()).toEqual([
      'BeginUpload',
      'CreateDatakey',
      'DecryptDatakey',
      'EncryptDatakey',
      'KeystoneCreateToken',
    ]);
    for (const { idempotency } of without)
      expect(idempotency).toHaveProperty('reason', expect.stringMatching(/\w+ \w+/));
  });

  it('lists every path of a handler with its permission', () => {
    expect(new RouteTable([GoodController]).routes).toEqual([
      {
        operation: 'ListParts',
        method: 'GET',
        path: '/v1/things/{thing_id}/parts',
        access: { kind: 'permits', actions: ['ims:images:get'], need: 'all' },
        idempotency: undefined,
      },
      {
        operation: 'ListParts',
        method: 'GET',
        path: '/v2/things/{thing_id}/parts',
        access: { kind: 'permits', actions: ['ims:images:get'], need: 'all' },
        idempotency: undefined,
      },
    ]);
  });

  it('knows the methods of a path and of none', () => {
    const table = new RouteTable([GoodController]);
    expect(table.methodsOf('/v1/things/a.b/parts')).toEqual(['GET', 'HEAD']);
    expect(table.methodsOf('/v1/things/a/b/parts')).toEqual([]);
  });

  it('has one route for each method and path of the gateway', () => {
    const keys = new RouteTable(CONTROLLERS).routes.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.length).toBeGreaterThan(20);
  });
});
