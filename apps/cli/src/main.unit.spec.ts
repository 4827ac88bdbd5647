import { CommanderError } from 'commander';
import { CliError, tellFailure } from './cli-error';
import { EXIT } from './exit-codes';
import { buildProgram } from './main';
import { EmbeddedError } from '@ims/embedded';

async function refusal(...words: string[]): Promise<string> {
  const program = buildProgram();
  let text = '';
  for (const command of [program, ...program.commands]) command.configureOutput({ writeErr: (part) => (text += part) });
  await expect(program.parseAsync(['node', 'ims', ...words])).rejects.toBeInstanceOf(CommanderError);
  return text;
}

describe(buildProgram.name, () => {
  it.each([
    [['up', '--port', 'http'], /whole number from 0 to 65535/],
    [['up', '--port', '65536'], /whole number from 0 to 65535/],
    [['up', '--port', '-1'], /whole number from 0 to 65535/],
    [['up', '--regions', '3'], /whole number from 1 to 2/],
    [['up', '--threads', '0'], /whole number from 1 to 256/],
    [['status', '-o', 'xml'], /Allowed choices are table, json, env/],
    [['doctor', '-o', 'env'], /Allowed choices are table, json/],
    [['logs', '-n', '1.5'], /whole number from 0 to 100000/],
    [['ups'], /unknown command 'ups'[\s\S]*Did you mean up\?/],
    [['down', '--force'], /unknown option '--force'/],
    [['logs', 'gateway', 'worker'], /too many arguments/],
  ])('refuses %j and says why', async (words, reason) => {
    expect(await refusal(...words)).toMatch(reason);
  });

  it('has every command with a description', () => {
    const commands = buildProgram().commands.map((command) => [command.name(), command.description()] as const);
    expect(commands.map(([name]) => name)).toEqual([
      'up',
      'down',
      'status',
      'doctor',
      'demo',
      'logs',
      'migrate',
      'seed',
      'audit',
      'usage',
      'jobs',
      'images',
      'quota',
      'catalogue',
      'market',
    ]);
    for (const [, description] of commands) expect(description).not.toBe('');
  });
});

describe(tellFailure.name, () => {
  it('keeps what was done, what to do next, and the exit code', () => {
    expect(tellFailure(new CliError('sign in: no', 'Try again.', EXIT.unreachable))).toEqual({
      message: 'sign in: no',
      remedy: 'Try again.',
      exitCode: 8,
    });
    expect(tellFailure(new EmbeddedError('DISK_FULL', 'start Postgres: full', 'Free some space.'))).toEqual({
      message: 'start Postgres: full',
      remedy: 'Free some space.',
      exitCode: 1,
    });
  });

  it('names a full disk, and shows the stack of what nobody expected', () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    expect(tellFailure(full).remedy).toMatch(/Free some disk space/);
    expect(tellFailure(new TypeError('x is not a function')).message).toMatch(/TypeError: x is not a function\n +at /);
  });
});
