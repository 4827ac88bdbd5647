import type { StepInput } from '@ims/contract';
import type { ActivityPorts } from './ports';

// A transfer lets go within this time; one small query per running step is nothing beside its bytes.
const LOOK_EVERY_MS = 2_000;

/** When the job was paused, if it is paused now. A job that has ended or is being cancelled is not. */
export async function pausedSince(db: ActivityPorts['db'], { jobId }: StepInput): Promise<Date | null> {
  const job = await db
    .selectFrom('job')
    .select('paused_at')
    .where('id', '=', jobId)
    .where('outcome', 'is', null)
    .where('cancel_reason', 'is', null)
    .executeTakeFirst();
  return job?.paused_at ?? null;
}

/** Looks while a step is at work whether its job is paused, and then lets go of the work. */
export class PauseWatch {
  readonly #letGo = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #pausedAt: Date | null = null;
  #isLooking = false;

  constructor(db: ActivityPorts['db'], input: StepInput) {
    this.#timer = setInterval(() => void this.#look(db, input), LOOK_EVERY_MS);
  }

  /** Aborted once the job is paused. */
  get signal(): AbortSignal {
    return this.#letGo.signal;
  }

  /** When the job was paused, if that is why the work was let go. */
  get pausedAt(): Date | null {
    return this.#pausedAt;
  }

  async #look(db: ActivityPorts['db'], input: StepInput): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      this.#pausedAt = await pausedSince(db, input);
    } catch {
      // The database is out of reach; the next look or the step's own end will tell.
      return;
    } finally {
      this.#isLooking = false;
    }
    if (this.#pausedAt === null) return;
    clearInterval(this.#timer);
    this.#letGo.abort();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
