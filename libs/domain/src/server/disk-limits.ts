/** Limits of disks, GiB (backends E5, E6). */
export const DISK_LIMITS_GIB = {
  system: { least: 1, most: 1024 },
  data: { least: 10, most: 32_768 },
  bareMetalSystem: { least: 40, most: 1024 },
} as const;
/** Types of disks that the disk service knows (backends E5). */
export const VOLUME_TYPES: readonly string[] = ['SSD', 'SAS', 'SATA', 'GPSSD', 'GPSSD2', 'ESSD', 'ESSD2'];
/** What a disk is where nothing is said of it. */
export const DEFAULT_VOLUME_TYPE = 'SSD';
export const DEFAULT_ZONE = 'az1';
