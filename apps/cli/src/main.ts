#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import picocolors from 'picocolors';
import { tellFailure } from './cli-error';
import { auditCommand } from './commands/audit';
import { catalogueCommand } from './commands/catalogue';
import { demo } from './commands/demo';
import { doctor } from './commands/doctor';
import { down } from './commands/down';
import { imagesCommand } from './commands/images';
import { jobsCommand } from './commands/jobs';
import { logs } from './commands/logs';
import { marketCommand } from './commands/market';
import { migrate, seed } from './commands/migrate';
import { quotaCommand } from './commands/quota';
import { status, STATUS_FORMATS } from './commands/status';
import { up } from './commands/up';
import { usageCommand } from './commands/usage';
import { readConfig } from './config';
import { EXIT } from './exit-codes';
import { output } from './output';

function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

/** The command line, for `main` and for tests of its parsing. */
export function buildProgram(): Command {
  const config = readConfig();
  const program = new Command('ims')
    .description('Image Management Service: runs it on this machine and looks after it')
    .version('0.1.0')
    .showSuggestionAfterError()
    .showHelpAfterError('(ims --help lists all commands)')
    .exitOverride();
  const data = (): Option => new Option('--data <dir>', 'directory of the instance').default(config.dataDir);
  const port = integer(0, 65_535);

  program
    .command('up')
    .description('start the service in the background')
    .addOption(data())
    .option('--region <name>', 'name of the region', config.region)
    .option('--regions <count>', 'how many regions, each a service of its own, that exchange images', integer(1, 2), 1)
    .option('--port <port>', 'port of the API, 0 for any free one', port, 8080)
    .option('--temporal-port <port>', 'port of Temporal, 0 for any free one', port, 7233)
    .option('--ui-port <port>', 'port of the Temporal Web UI, 0 for any free one', port, 8233)
    .option('--threads <count>', 'threads of an import; one per core when left out', integer(1, 256))
    .action(up);
  program
    .command('down')
    .description('stop the service')
    .addOption(data())
    .option('--purge', 'remove all its data too', false)
    .action(down);
  program
    .command('status')
    .description('what runs, where, and with which credentials')
    .addOption(data())
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(STATUS_FORMATS).default('table'))
    .action(status);
  program
    .command('doctor')
    .description('check everything the service needs on this machine')
    .addOption(data())
    .option('--fix', 'install what can be installed without root', false)
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(['table', 'json']).default('table'))
    .action(doctor);
  program
    .command('demo')
    .description('a whole import, from a disk image to a verified download')
    .addOption(new Option('--data <dir>', 'directory of the instance; a temporary one when left out'))
    .option('--keep', 'leave the service up at the end', false)
    .action(demo);
  program
    .command('logs')
    .description('the last lines of a log')
    .argument('[service]', 'gateway, worker, supervisor, postgres or temporal; gateway when left out')
    .addOption(data())
    .option('-f, --follow', 'go on with what is added', false)
    .option('-n, --lines <count>', 'how many lines', integer(0, 100_000), 40)
    .action(logs);
  program
    .command('migrate')
    .description('bring a database of your own to the newest schema (IMS_OWNER_DATABASE_URL or IMS_ADMIN_DATABASE_URL)')
    .action(migrate);
  program
    .command('seed')
    .description(
      'make the first account, project, user and access key (IMS_DATABASE_URL, IMS_ROOT_KEY, IMS_SEED_PASSWORD)',
    )
    .option('--account <name>', 'name of the account', 'ims')
    .option('--user <name>', 'name of the user', 'admin')
    .option('--region <name>', 'name of the region and its project', config.region)
    .option('--policy <name...>', 'roles and policies of the user, such as "IMS ReadOnlyAccess"; all when left out', [])
    .option('--platform', 'the operator of the platform instead: catalogue and marketplace', false)
    .action(seed);
  program.addCommand(inheriting(auditCommand()));
  program.addCommand(inheriting(usageCommand()));
  program.addCommand(inheriting(jobsCommand()));
  program.addCommand(inheriting(imagesCommand()));
  program.addCommand(inheriting(quotaCommand()));
  program.addCommand(inheriting(catalogueCommand()));
  program.addCommand(inheriting(marketCommand()));
  return program;
}

/** Commands that are made elsewhere end like all others: by an error that `main` turns into an exit code. */
function inheriting(command: Command): Command {
  for (const each of [command, ...command.commands]) each.exitOverride();
  return command;
}

/** Runs the command line and sets the exit code; never throws. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await buildProgram().parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version end this way too, with code 0; the message has been printed already.
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    const { message, remedy, exitCode } = tellFailure(error);
    output.progress(`${picocolors.red('ims:')} ${message}\n${remedy}`);
    process.exitCode = exitCode;
  }
}

if (require.main === module) void main(process.argv);
