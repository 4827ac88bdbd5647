import { permissionsOf, permits } from '@ims/access';
import { CONTROLLERS } from '../gateway';
import { type Route, RouteTable } from '../http/route-table';

const OPERATIONS = ['create', 'delete', 'update', 'query'] as const;
type Operation = (typeof OPERATIONS)[number];

/** Table 10-3 of the overview: who may do what with images. */
const TABLE: readonly [name: string, granted: readonly string[], may: Record<Operation, boolean>][] = [
  ['IMS FullAccess', ['IMS FullAccess'], { create: true, delete: true, update: true, query: true }],
  ['IMS ReadOnlyAccess', ['IMS ReadOnlyAccess'], { create: false, delete: false, update: false, query: true }],
  [
    'IMS Administrator',
    ['IMS Administrator', 'Tenant Administrator'],
    { create: true, delete: true, update: true, query: true },
  ],
];

/** Routes that demand rights on images, by what the strongest of these rights is for. */
const ROUTES = new RouteTable(CONTROLLERS).routes.filter(
  ({ access }) => access.kind === 'permits' && access.actions.every((action) => action.startsWith('ims:')),
);
const actionsOf = ({ access }: Route): readonly string[] => (access.kind === 'permits' ? access.actions : []);

function operationOf(route: Route): Operation {
  const verbs = actionsOf(route).map((action) => action.split(':').at(-1) ?? '');
  const has = (...wanted: string[]): boolean => verbs.some((verb) => wanted.includes(verb));
  if (verbs.every((verb) => /^(get|list)/.test(verb))) return 'query';
  if (has('create', 'copy', 'upload', 'export')) return 'create';
  return has('delete') ? 'delete' : 'update';
}

const isAllowed = (granted: readonly string[], { access }: Route): boolean => {
  if (access.kind !== 'permits') return false;
  const caller = { permissions: permissionsOf(granted) };
  return access.need === 'any'
    ? access.actions.some((action) => permits(caller, action))
    : access.actions.every((action) => permits(caller, action));
};

describe('who may do what with images (PER-11)', () => {
  describe.each(TABLE)('%s', (_, granted, may) => {
    it.each(OPERATIONS)('%s', (operation) => {
      const routes = ROUTES.filter((route) => operationOf(route) === operation);
      expect(routes).not.toEqual([]);
      for (const route of routes)
        expect({ route, allowed: isAllowed(granted, route) }).toEqual({ route, allowed: may[operation] });
    });
  });

  it('ReadOnlyAccess opens nothing that changes anything, whatever its rights are called (PER-10)', () => {
    const open = ROUTES.filter((route) => isAllowed(['IMS ReadOnlyAccess'], route));
    const reading = /^(Glance)?(List|Show|Download|Export(Usage|Images)|Batch(Query|List)|Search|Count|Verify)/;
    expect(
      open.filter(({ method, operation }) => method !== 'GET' && method !== 'HEAD' && !reading.test(operation)),
    ).toEqual([]);
  });

  it('a role without the one that it depends on opens nothing (PER-08)', () => {
    expect(ROUTES.filter((route) => isAllowed(['IMS Administrator'], route))).toEqual([]);
  });
});
