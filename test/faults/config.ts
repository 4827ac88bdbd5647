import { z } from 'zod';

const schema = z.object({
  IMS_FAULT_TRIALS: z.coerce.number().int().positive().default(20),
  IMS_FAULT_SEED: z.string().default('1'),
  /** Number of the only trial to run, to see one again. */
  IMS_FAULT_ONLY: z.coerce.number().int().positive().optional(),
  /** `workload/step/victim` for every trial, instead of what is short of hits. */
  IMS_FAULT_AIM: z.string().optional(),
  IMS_FAULT_REPORT: z.string().optional(),
});

/** What `npm run test:faults` was told. */
export function faultConfig(env: NodeJS.ProcessEnv = process.env) {
  const e = schema.parse(env);
  return {
    trials: e.IMS_FAULT_TRIALS,
    seed: e.IMS_FAULT_SEED,
    only: e.IMS_FAULT_ONLY,
    aim: e.IMS_FAULT_AIM,
    reportPath: e.IMS_FAULT_REPORT,
  };
}

/** Environment of a Jest run of trials. */
export function environmentOf(
  told: {
    trials: string;
    seed: string;
    only?: string | undefined;
    aim?: string | undefined;
    reportPath?: string | undefined;
  },
  env: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  return {
    ...env,
    NODE_OPTIONS: '--experimental-vm-modules',
    IMS_TEST_SUFFIXES: 'faults',
    IMS_FAULT_TRIALS: told.trials,
    IMS_FAULT_SEED: told.seed,
    ...(told.only === undefined ? {} : { IMS_FAULT_ONLY: told.only }),
    ...(told.aim === undefined ? {} : { IMS_FAULT_AIM: told.aim }),
    ...(told.reportPath === undefined ? {} : { IMS_FAULT_REPORT: told.reportPath }),
  };
}
