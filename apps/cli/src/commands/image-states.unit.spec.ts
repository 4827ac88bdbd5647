import type { LineageNode } from '@ims/contract';
import { linesOf } from './image-states';

const node = (ref: string, changes: Partial<LineageNode> = {}): LineageNode => ({
  ref,
  parent_ref: null,
  depth: 0,
  id: ref,
  name: ref.toUpperCase(),
  status: 'active',
  image_type: 'private',
  created_at: '2026-11-24T10:00:00.000Z',
  origin: null,
  revoked: null,
  ...changes,
});
const hidden = (ref: string, changes: Partial<LineageNode> = {}): LineageNode =>
  node(ref, { id: null, name: null, status: null, image_type: null, created_at: null, ...changes });

describe(linesOf.name, () => {
  it('draws what an image comes from above it and what comes from it below, by generation', () => {
    const image = node('b', { parent_ref: 'hidden-1' });
    expect(
      linesOf({
        image,
        ancestors: [
          hidden('hidden-1', { parent_ref: 'a', depth: 1, revoked: { reason: 'leak' } }),
          node('a', { depth: 2, status: 'deleted', origin: { kind: 'file', reference: 'images:a.qcow2' } }),
        ],
        descendants: [
          node('c', { parent_ref: 'b', depth: 1 }),
          hidden('hidden-2', { parent_ref: 'b', depth: 1 }),
          node('d', { parent_ref: 'c', depth: 2 }),
        ],
        replicas: [{ source_ref: 'c', region: 'region-2', image_id: 'x' }],
        servers: [{ image_ref: 'b', id: 's1', name: 'web' }],
        truncated: false,
      }),
    ).toEqual([
      'a A (deleted) from file images:a.qcow2',
      '  an image of somebody else, revoked: leak',
      '    b B (active)  <',
      '      server s1 web',
      '      c C (active)',
      '        copy in region-2: x',
      '        d D (active)',
      '      an image of somebody else',
    ]);
  });
});
