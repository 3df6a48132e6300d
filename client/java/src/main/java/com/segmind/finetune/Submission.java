package com.segmind.finetune;

import com.segmind.finetune.v1.FineTune;

/** A job that was submitted, and the request_id that names the submission. */
public record Submission(FineTune fineTune, String requestId) {
  /** The job's name. */
  public String name() {
    return fineTune.getName();
  }

  /**
   * Whether nobody knows yet if Segmind took the job (SUBMIT_UNKNOWN). The gateway finds out: wait for the job or watch it, and never submit it
   * again under another request_id.
   */
  public boolean unknown() {
    return fineTune.getState() == FineTune.State.SUBMIT_UNKNOWN;
  }
}
