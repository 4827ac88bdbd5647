import { diskOf } from './image-disk.rules';

const row = (manifest_hash: string | null) => ({
  domain_id: 'd',
  manifest_hash,
  content_root: 'r',
  virtual_size_bytes: 1024,
  stored_bytes: 10,
});

describe(diskOf.name, () => {
  it('is the content of an image that is a disk', () => {
    expect(diskOf({ ...row('content'), form: 'disk' }, [])?.manifestHash).toBe('content');
  });

  it('is the disk in an image that is a file, and nothing before that is derived', () => {
    const file = { ...row('file'), form: 'file' };
    expect(diskOf(file, [{ ...row('data'), part: 'data:/dev/vdb' }])).toBeUndefined();
    expect(diskOf(file, [{ ...row('derived'), part: 'disk' }])?.manifestHash).toBe('derived');
  });

  it('is none where there are no bytes', () => {
    expect(diskOf({ ...row(null), form: 'disk' }, [])).toBeUndefined();
  });
});
