// `npm run test:faults -- --trials 50 --seed 7`: kills a random part at a random moment under load, N times, beside the other long specs
// of this folder. `--only K` runs trial K again, alone; `--aim workload/step/victim` says what every trial is out for; `--bench` leaves the other
// specs out.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { environmentOf } from './config';

const WORKSPACE = resolve(__dirname, '../..');

const { values } = parseArgs({
  options: {
    trials: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    aim: { type: 'string' },
    bench: { type: 'boolean', default: false },
  },
});
const jest = spawn(
  process.execPath,
  [
    createRequire(__filename).resolve('jest/bin/jest'),
    '--runInBand',
    values.only === undefined && !values.bench ? 'test/faults/' : 'test/faults/random-victims',
  ],
  {
    cwd: WORKSPACE,
    stdio: 'inherit',
    env: environmentOf({
      trials: values.trials,
      seed: values.seed,
      only: values.only,
      aim: values.aim,
      // A single trial says nothing about how often anything fails.
      reportPath:
        values.only === undefined && values.aim === undefined ? join(WORKSPACE, 'docs/reports/faults.md') : undefined,
    }),
  },
);
for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => jest.kill(signal));
jest.once('exit', (code) => {
  process.exitCode = code ?? 1;
});
