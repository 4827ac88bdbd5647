import type { UsableImage } from './image-use.rules';

export const IMAGE_ID = '5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c';
const GIB = 2 ** 30;

export const anImage = (changes: Partial<UsableImage> = {}): UsableImage => ({
  id: IMAGE_ID,
  name: 'debian',
  isActive: true,
  virtualEnvType: 'FusionCompute',
  imageType: 'private',
  architecture: 'x86',
  osBit: '64',
  osType: 'Linux',
  osVersion: 'Debian GNU/Linux 10.2.0 64bit',
  firmware: 'bios',
  minDiskGib: 10,
  minRamMib: 0,
  maxRamMib: undefined,
  productCode: undefined,
  isEncrypted: false,
  disk: { part: 'content', virtualSizeBytes: 5 * GIB, isDerived: true },
  dataDisks: [],
  ...changes,
});

export const aDataImage = (changes: Partial<UsableImage> = {}): UsableImage =>
  anImage({ id: 'b3b0c5de-8c8e-4b0e-8a50-0b6b4f9d7c11', virtualEnvType: 'DataImage', minDiskGib: 40, ...changes });
