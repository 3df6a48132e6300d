package com.segmind.finetune;

import com.segmind.finetune.v1.FineTune;
import java.util.Optional;

/** The time of a wait ran out. */
public final class WaitTimeoutException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private final FineTune fineTune;

  WaitTimeoutException(String message, FineTune fineTune) {
    super(message);
    this.fineTune = fineTune;
  }

  /** The job as it was last seen, if it was. */
  public Optional<FineTune> fineTune() {
    return Optional.ofNullable(fineTune);
  }
}
