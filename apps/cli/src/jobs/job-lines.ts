import type { JobDocument } from '@ims/contract';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Bytes with the unit in which they are read best: three digits at most before the point. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit += 1) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

/** A length of time in the two units that matter. */
export function durationText(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** State as a person reads it: a paused job has the one that clients know, and another word beside it. */
export const stateText = ({ status, paused }: JobDocument): string => (paused === true ? `${status}, paused` : status);

export const percentText = ({ entities }: JobDocument): string => `${Math.floor(entities.process_percent * 100)} %`;

/** How far, how fast and how long, as far as the job says. */
export function paceText(job: JobDocument): string {
  const { bytes_done: done, bytes_total: total, bytes_per_second: rate, eta_seconds: eta } = job;
  return [
    done === undefined ? undefined : total === undefined ? sizeText(done) : `${sizeText(done)} of ${sizeText(total)}`,
    rate === undefined ? undefined : `${sizeText(rate)}/s`,
    eta === undefined ? undefined : `${durationText(eta)} left`,
  ]
    .filter((part) => part !== undefined)
    .join(', ');
}

// A bar beside state, bytes, rate and time fits into 80 columns.
const BAR_WIDTH = 20;

/** One line that says everything about a job under way. */
export function watchLine(job: JobDocument): string {
  const filled = Math.floor(job.entities.process_percent * BAR_WIDTH);
  const bar = `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`;
  return `${bar} ${percentText(job).padStart(5)}  ${[stateText(job), stepOf(job), paceText(job)].filter((part) => part !== '').join('  ')}`;
}

/** The part of a job's state whose changes are worth a line of their own where lines stay. */
export const milestone = (job: JobDocument): string =>
  `${stateText(job)} ${stepOf(job)} ${Math.floor(job.entities.process_percent * 10)}`;

const stepOf = ({ entities }: JobDocument): string => entities.current_task?.split(':').at(1) ?? '';
