import { exportImageRequest, jobId, projectId } from '@ims/contract';
import { decideExportImage } from './image-export.decider';
import { checkExportBucket, DEFAULT_EXPORT_SETTINGS, type ExportableImage, parseBucketUrl } from './image-export.rules';

const GIB = 2 ** 30;
const TIB = 2 ** 40;
const ID = '3b1f7a52-8a2f-4d43-9b3a-0c8f5d1e2a34';
const image = (more: Partial<ExportableImage> = {}): ExportableImage => ({
  id: ID,
  name: 'web',
  status: 'active',
  imageType: 'private',
  virtualEnvType: 'FusionCompute',
  isWholeServer: false,
  backupId: undefined,
  isEncrypted: false,
  productCode: undefined,
  publicPlatform: undefined,
  disk: { part: 'content', virtualSizeBytes: 40 * GIB, isDerived: true },
  isBeingExported: false,
  ...more,
});
const sized = (virtualSizeBytes: number) => image({ disk: { part: 'content', virtualSizeBytes, isDerived: true } });
const NORMAL = { bucket_url: 'my-images:out/web.qcow2', file_format: 'qcow2' as const };
const QUICK = { bucket_url: 'my-images:out/web.zvhd2', is_quick_export: true };
const decide = (of: ExportableImage | undefined, request: object = NORMAL, settings = DEFAULT_EXPORT_SETTINGS) =>
  decideExportImage(of, {
    projectId: projectId('0123456789abcdef0123456789abcdef'),
    jobId: jobId('ff8080828f9a1c33018fa0b7d2c41e55'),
    request: exportImageRequest.parse(request),
    settings,
  });
// What `toThrow` takes: the asymmetric matcher is typed as any error.
const coded = (code: string) => expect.objectContaining<{ code: string }>({ code }) as unknown as Error;

describe(decideExportImage.name, () => {
  it('accepts a job that names the exported image (EXP-01)', () => {
    const { events, input } = decide(image());
    expect(events).toMatchObject([
      {
        type: 'job.accepted',
        data: {
          jobType: 'imsNativeExportImageJob',
          saga: 'image-export',
          imageId: ID,
          steps: ['check-image', 'export', 'check-object', 'release-image'],
        },
      },
    ]);
    expect(input).toMatchObject({
      target: { bucket: 'my-images', key: 'out/web.qcow2' },
      format: 'qcow2',
      images: [{ imageId: ID, parts: ['content'] }],
    });
  });

  it('makes the disk in a file readable first', () => {
    const { input, events } = decide(image({ disk: { part: 'disk', virtualSizeBytes: 1, isDerived: false } }));
    expect(input.derive).toEqual([ID]);
    expect(events[0]).toMatchObject({ data: { steps: expect.arrayContaining(['derive-disk']) as unknown } });
  });

  it.each(['vmdk', 'vhd', 'qcow2', 'zvhd', 'raw'])(
    'takes the format %s, and ZVHD2 by quick export alone (EXP-02)',
    (format) => {
      expect(decide(image(), { ...NORMAL, file_format: format }).input.format).toBe(format);
      expect(decide(image(), QUICK).input.format).toBe('zvhd2');
    },
  );

  it.each([
    [{ bucket_url: 'b-1:k', file_format: 'vhdx' }, 'IMG.0072'],
    [{ bucket_url: 'b-1:k', file_format: 'zvhd2' }, 'IMG.0072'],
    [{ bucket_url: 'b-1:k' }, 'IMG.0072'],
    [{ file_format: 'vhd' }, 'IMG.0017'],
    [{ ...QUICK, file_format: 'zvhd' }, 'IMG.0001'],
    [{ ...NORMAL, is_quick_export: 'yes' }, 'IMG.0001'],
  ])('refuses the body %j with %s (EXP-02)', (body, code) => {
    expect(exportImageRequest.safeParse(body).error?.issues[0]?.message).toMatch(new RegExp(`^${code}: `));
  });

  it.each<[string, Partial<ExportableImage>, string]>([
    ['that is not active (EXP-05)', { status: 'queued' }, 'IMG.0046'],
    ['that is public', { imageType: 'gold' }, 'IMG.0077'],
    ['of the marketplace (EXP-10)', { imageType: 'market', productCode: 'pc' }, 'IMG.0078'],
    ['that descends from the marketplace (EXP-10)', { productCode: 'pc' }, 'IMG.0079'],
    ['of a whole server (EXP-08, CRE-21)', { isWholeServer: true, backupId: 'b' }, 'IMG.0128'],
    ['made from a backup', { backupId: 'b' }, 'IMG.0080'],
    ['of an installation medium (EXP-08)', { virtualEnvType: 'IsoImage' }, 'IMG.0167'],
    ['from a public Windows image (EXP-09)', { publicPlatform: 'Windows' }, 'IMG.0071'],
    ['from a public SUSE image (EXP-09)', { publicPlatform: 'SUSE' }, 'IMG.0071'],
    ['from a public Red Hat image (EXP-09)', { publicPlatform: 'Red Hat' }, 'IMG.0071'],
    ['from a public RedHat image (EXP-09)', { publicPlatform: 'RedHat' }, 'IMG.0071'],
    ['from a public Ubuntu image (EXP-09)', { publicPlatform: 'Ubuntu' }, 'IMG.0071'],
    ['from a public Oracle Linux image (EXP-09)', { publicPlatform: 'Oracle Linux' }, 'IMG.0071'],
    ['without bytes', { disk: undefined }, 'IMG.0046'],
    ['that is being exported', { isBeingExported: true }, 'IMG.0148'],
  ])('refuses an image %s', (_, more, code) => {
    expect(() => decide(image(more))).toThrow(coded(code));
    expect(() => decide(image(more), QUICK)).toThrow(coded(code));
  });

  it('lets go what descends from a public CentOS image, and data disks (EXP-09)', () => {
    expect(decide(image({ publicPlatform: 'CentOS' })).events).toHaveLength(1);
    expect(decide(image({ virtualEnvType: 'DataImage' })).events).toHaveLength(1);
  });

  it('knows neither an absent image nor another tenant’s', () => {
    expect(() => decide(undefined)).toThrow(expect.objectContaining({ code: 'IMG.0144', status: 404 }));
  });

  it('exports an encrypted image in the normal way alone (EXP-06)', () => {
    expect(decide(image({ isEncrypted: true })).events).toHaveLength(1);
    expect(() => decide(image({ isEncrypted: true }), QUICK)).toThrow(coded('IMG.0105'));
  });

  it('exports up to 128 GB in every format, above it by quick export, or everywhere if the region allows (EXP-04)', () => {
    const large = sized(128 * GIB + 512);
    expect(decide(sized(128 * GIB)).events).toHaveLength(1);
    expect(() => decide(large)).toThrow(coded('IMG.0160'));
    expect(decide(large, QUICK).events).toHaveLength(1);
    expect(decide(large, NORMAL, { ...DEFAULT_EXPORT_SETTINGS, largeByNormal: true }).events).toHaveLength(1);
  });

  it('exports up to 1 TB, or below it if that is how it is read (EXP-03)', () => {
    const strict = { largeByNormal: true, belowLargest: true };
    expect(decide(sized(TIB), QUICK).events).toHaveLength(1);
    expect(() => decide(sized(TIB + 512), QUICK)).toThrow(coded('IMG.0071'));
    expect(() => decide(sized(TIB + 512))).toThrow(coded('IMG.0071'));
    expect(() => decide(sized(TIB), QUICK, strict)).toThrow(coded('IMG.0071'));
    expect(decide(sized(TIB - 512), NORMAL, strict).events).toHaveLength(1);
  });
});

describe(parseBucketUrl.name, () => {
  it('takes a bucket and an object', () => {
    expect(parseBucketUrl('my-images:out/web:1.qcow2')).toEqual({ bucket: 'my-images', key: 'out/web:1.qcow2' });
    expect(parseBucketUrl(`my-images:${'k'.repeat(248)}`).key).toHaveLength(248);
  });

  it.each([
    ['no-colon', 'IMG.0017'],
    [':key', 'IMG.0068'],
    ['Upper_Case:key', 'IMG.0109'],
    ['a..b:key', 'IMG.0109'],
    ['my-images:', 'IMG.0073'],
    ['my-images:folder/', 'IMG.0073'],
    [`my-images:${'k'.repeat(249)}`, 'IMG.0074'],
    [`my-images:${'folder/'.repeat(146)}k`, 'IMG.0074'],
    ['my-images:a b', 'IMG.0075'],
    ['my-images:../x', 'IMG.0075'],
    ['my-images:a//b', 'IMG.0075'],
    ['my-images:.ims-incoming/x', 'IMG.0075'],
    ['my-images:a\nb', 'IMG.0075'],
    ['my-images:\ud800', 'IMG.0075'],
  ])('refuses %j with %s', (url, code) => {
    expect(() => parseBucketUrl(url)).toThrow(coded(code));
  });
});

describe(checkExportBucket.name, () => {
  const here = { name: 'my-images', region: 'region-1' };

  it('takes a Standard bucket of the region (EXP-07)', () => {
    expect(() => checkExportBucket({ region: 'region-1', storageClass: 'STANDARD' }, here)).not.toThrow();
  });

  it.each([
    [undefined, 'IMG.0069'],
    [{ region: 'region-1', storageClass: 'WARM' }, 'IMG.0069'],
    [{ region: 'region-1', storageClass: 'COLD' }, 'IMG.0069'],
    [{ region: 'region-2', storageClass: 'STANDARD' }, 'IMG.0058'],
  ])('refuses %j with %s (EXP-07)', (bucket, code) => {
    expect(() => checkExportBucket(bucket, here)).toThrow(coded(code));
  });
});
