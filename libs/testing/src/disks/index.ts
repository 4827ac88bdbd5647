export { bootSector, COUNTER_SECTOR, HALT } from './boot-sector';
export { convertDisk, DISK_VARIANTS, sha256OfRaw, type DiskVariant } from './convert-disk';
export { makeDebianLikeDisk, type DebianLikeDisk, type DebianLikeDiskOptions } from './debian-like-disk';
export { makeBootableDebian, missingForDebian } from './bootable-debian';
export { isoLikeFile } from './iso-like-file';
