import * as workflows from '@ims/workflows';
import { WORKLOADS } from '.';

/** Workflows that nothing is killed under. Should be empty. */
const WITHOUT: readonly string[] = [];

const kebab = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

describe('workloads of the fault bench', () => {
  it('cover every workflow that is registered, but for those named here', () => {
    const covered = new Set<string>(WORKLOADS.map(({ name }) => name.split(/[ ,]/)[0] ?? ''));
    const missing = Object.keys(workflows)
      .map(kebab)
      .filter((name) => !covered.has(name));
    expect(missing.toSorted()).toEqual(WITHOUT.toSorted());
  });

  it('have names of their own, which the aim of a trial can tell apart', () => {
    const names = WORKLOADS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.filter((name) => name.includes('/'))).toEqual([]);
  });
});
