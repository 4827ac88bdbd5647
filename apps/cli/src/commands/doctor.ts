import { installTemporalBinary } from '@ims/embedded';
import picocolors from 'picocolors';
import { CliError } from '../cli-error';
import { readConfig } from '../config';
import { output } from '../output';
import { DataDirectory } from '../stack/data-directory';
import { examine, type Finding } from '../system/checks';

const MARKS: Record<Finding['verdict'], string> = {
  ok: picocolors.green('ok'),
  warning: picocolors.yellow('warning'),
  problem: picocolors.red('PROBLEM'),
};

/** `ims doctor`: looks at everything the service needs on this machine and says what to do about what it finds. */
export async function doctor(options: { data: string; fix: boolean; output: 'table' | 'json' }): Promise<void> {
  const config = readConfig();
  if (options.fix) await installTemporalBinary();
  const findings = await examine(config, new DataDirectory(options.data));
  if (options.output === 'json') output.data(JSON.stringify(findings, null, 2));
  else {
    output.facts(findings.map(({ check, verdict, found }) => [check, `${MARKS[verdict]}  ${found}`]));
    for (const { check, remedy } of findings) if (remedy !== undefined) output.progress(`\n${check}: ${remedy}`);
  }
  const problems = findings.filter(({ verdict }) => verdict === 'problem');
  if (problems.length > 0) {
    throw new CliError(
      `${problems.length} of ${findings.length} checks found a problem: ${problems.map(({ check }) => check).join(', ')}`,
      'Each has its remedy above.',
    );
  }
}
