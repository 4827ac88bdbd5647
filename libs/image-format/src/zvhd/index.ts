export { inspectZvhd, openZvhd } from './zvhd-reader';
export { writeZvhd } from './zvhd-writer';
export { assembleZvhd2 } from './zvhd2-assembler';
export { zvhd2Identity, zvhd2Layout, type Zvhd2Identity, type Zvhd2Layout } from './zvhd2-layout';
export { inspectZvhd2, openZvhd2 } from './zvhd2-reader';
export { writeZvhd2 } from './zvhd2-writer';
