export type { DiskDescriptor, DiskReader, Extent, Inspection } from './disk-reader';
export {
  assembleZvhd2,
  inspectZvhd,
  inspectZvhd2,
  openZvhd,
  openZvhd2,
  writeZvhd,
  writeZvhd2,
  zvhd2Identity,
  zvhd2Layout,
  type Zvhd2Identity,
  type Zvhd2Layout,
} from './zvhd';
