// The peer's worker, a process of its own as ours is: node infra/run-ts.cjs test/bench/support/bare-worker.ts ADDRESS QUEUE
import { join } from 'node:path';
import { NativeConnection, Worker } from '@temporalio/worker';

const [, , address = '', taskQueue = ''] = process.argv;

async function main(): Promise<void> {
  const connection = await NativeConnection.connect({ address });
  const worker = await Worker.create({
    connection,
    taskQueue,
    workflowsPath: join(__dirname, 'bare.workflow.ts'),
    activities: { noop: () => Promise.resolve() },
    workflowThreadPoolSize: 1,
    maxConcurrentActivityTaskExecutions: 40,
  });
  process.stdout.write('ready\n');
  await worker.run();
  await connection.close();
}

void main();
