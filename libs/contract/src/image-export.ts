import { z } from 'zod';
import { usedImage } from './cloud-jobs';
import { bucketFile } from './image-create';

/** Formats that an image is exported in (EXP-02); `raw` is ours, `zvhd2` is what quick export gives. */
export const EXPORT_FORMATS = ['qcow2', 'vhd', 'zvhd', 'vmdk', 'raw', 'zvhd2'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** Steps of the saga `image-export`, in order; the disk in a file is made readable before. */
export const IMAGE_EXPORT_STEPS = ['check-image', 'export', 'check-object', 'release-image'] as const;
export type ImageExportStep = (typeof IMAGE_EXPORT_STEPS)[number] | 'derive-disk';

export const imageExportInput = z.object({
  jobId: z.string(),
  epoch: z.number().int().positive(),
  projectId: z.string(),
  imageId: z.string(),
  imageName: z.string(),
  /** The object that is made; never one that is there. */
  target: bucketFile,
  format: z.enum(EXPORT_FORMATS),
  /** The largest disk that may be exported so, in bytes: how large the disk in a file is may not be known earlier (EXP-03, EXP-04). */
  maxDiskBytes: z.number().int().positive(),
  images: z.array(usedImage),
  derive: z.array(z.string()).min(1).optional(),
});
export type ImageExportInput = z.infer<typeof imageExportInput>;

export const imageExportSteps = ({ derive }: { derive?: string[] | undefined }): ImageExportStep[] => [
  ...(derive === undefined ? [] : (['derive-disk'] as const)),
  ...IMAGE_EXPORT_STEPS,
];

/** The sums of an object lie beside it, as `sha256sum` writes and checks them. */
export const checksumKeyOf = (key: string): string => `${key}.sha256`;

export const exportedObject = z.object({
  bucket: z.string(),
  key: z.string(),
  format: z.enum(EXPORT_FORMATS),
  sizeBytes: z.number().int().positive(),
  partCount: z.number().int().positive(),
});
export type ExportedObject = z.infer<typeof exportedObject>;

/** What was read back of the object. */
export const checkedObject = z.object({
  sizeBytes: z.number().int().positive(),
  sha256: z.string(),
  etag: z.string(),
});
export type CheckedObject = z.infer<typeof checkedObject>;

export interface ImageExportOutput {
  imageId: string;
}
