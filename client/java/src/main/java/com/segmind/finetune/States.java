package com.segmind.finetune;

import com.segmind.finetune.v1.FineTune;

/** What may be said of a job's state. */
public final class States {
  private States() {}

  /** Whether a job in this state has ended. A state that this version does not know has not. */
  public static boolean isTerminal(FineTune.State state) {
    return switch (state) {
      case AVAILABLE, FAILED, LOST, CANCELLED -> true;
      default -> false;
    };
  }

  /** Whether a job in {@code state} has reached {@code wanted}, itself or a later stage of success. */
  public static boolean hasReached(FineTune.State state, FineTune.State wanted) {
    if (state == FineTune.State.UNRECOGNIZED) return false;
    return state == wanted || (wanted != FineTune.State.SUBMIT_UNKNOWN && wanted.getNumber() < state.getNumber()
        && state.getNumber() <= FineTune.State.AVAILABLE_VALUE);
  }
}
