import type { Workload } from './fault-bench';
import type { Victim } from './victims';

/** What a trial is out for: that this part dies while this step of this workload runs. */
export interface Aim {
  workload: Workload;
  step: string;
  victim: Victim;
  /** What else is under way, to be met by the same kill. */
  beside: readonly Workload[];
}

/** A step that ran when the victim died. */
export interface Hit {
  workload: string;
  step: string;
}

export interface Trial {
  number: number;
  aim: Aim;
  victim: Victim;
  /** None: the trial does not count. */
  met: Hit[];
  /** From the kill to the end of the last job. */
  recoverySeconds: number;
  violations: string[];
}
