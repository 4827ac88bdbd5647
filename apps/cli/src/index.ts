export { Stack, type StackOptions } from './stack/stack';
export type { StackState } from './stack/data-directory';
